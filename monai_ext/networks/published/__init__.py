"""Encoders that others have published: a register of them, and a loader for their files."""

from .architecture import Architecture, find_architecture
from .entry import PublishedEncoder
from .formats import PublishedWeights, read_published
from .hub import find_entry, find_file, is_named
from .load import is_published, load_published, repeat_channels
from .register import REGISTER, find_published

__all__ = [
    "REGISTER",
    "Architecture",
    "PublishedEncoder",
    "PublishedWeights",
    "find_architecture",
    "find_entry",
    "find_file",
    "find_published",
    "is_named",
    "is_published",
    "load_published",
    "read_published",
    "repeat_channels",
]
