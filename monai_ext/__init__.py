"""Maskers, networks, losses and engines for lesion and organ segmentation with few labels."""

from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"

_MODULES = (
    "bundle",
    "data",
    "engines",
    "handlers",
    "inferers",
    "losses",
    "maskers",
    "metrics",
    "networks",
    "phases",
    "predict",
    "processes",
    "transforms",
)


def __getattr__(name: str) -> ModuleType:
    """Import a sub-package when it is first used, so that a config needs only ``import monai_ext``."""
    if name in _MODULES:
        return import_module(f"monai_ext.{name}")
    raise AttributeError(f"module 'monai_ext' has no attribute {name!r}")
