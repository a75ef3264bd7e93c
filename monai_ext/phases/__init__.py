"""What is a phase of a bundle and no training step.

What ``__all__`` names is imported when it is first used: a phase may start others, and so rests on what reads configs.
"""

from importlib import import_module
from typing import Any

_MODULES = {
    "MapPhase": "mapping",
    "distribute": "processes",
    "end_processes": "processes",
    "fit_threshold": "threshold_fit",
    "process_device": "processes",
    "shard_device": "processes",
}

__all__ = ["MapPhase", "distribute", "end_processes", "fit_threshold", "process_device", "shard_device"]


def __getattr__(name: str) -> Any:
    """Import what is exported under this name."""
    if name not in _MODULES:
        raise AttributeError(f"module 'monai_ext.phases' has no attribute {name!r}")
    return getattr(import_module(f"monai_ext.phases.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """Names that are there already, and those that are imported on use."""
    return sorted({*globals(), *__all__})
