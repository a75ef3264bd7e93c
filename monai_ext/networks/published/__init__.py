"""Encoders that others have published: a register of them, and a loader for their files."""

from monai_ext.networks.published.architecture import Architecture, find_architecture
from monai_ext.networks.published.entry import PublishedEncoder
from monai_ext.networks.published.formats import PublishedWeights, read_published
from monai_ext.networks.published.hub import find_entry, find_file, is_named
from monai_ext.networks.published.load import is_published, load_published, repeat_channels
from monai_ext.networks.published.register import REGISTER, find_published

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
