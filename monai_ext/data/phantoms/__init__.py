"""Synthetic data sets for running and testing; one module per data set, each registered under its name."""

from .bpmri import generate_bpmri
from .registry import cache_root, phantom, phantom_names, register_phantom

__all__ = ["cache_root", "generate_bpmri", "phantom", "phantom_names", "register_phantom"]
