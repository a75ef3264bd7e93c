"""Networks, their blocks and their weights."""

from importlib import import_module
from types import ModuleType

from monai_ext.networks.compilation import compiled
from monai_ext.networks.deep_ensemble import DeepEnsemble, deep_ensemble, mean_scores, members_of
from monai_ext.networks.output_prior import set_output_prior
from monai_ext.networks.param_groups import param_groups
from monai_ext.networks.weights import (
    WeightReport,
    check_can_write,
    is_null,
    load_weights,
    read_checkpoint,
    save_atomically,
)

__all__ = [
    "DeepEnsemble",
    "WeightReport",
    "check_can_write",
    "compiled",
    "deep_ensemble",
    "is_null",
    "load_weights",
    "mean_scores",
    "members_of",
    "param_groups",
    "read_checkpoint",
    "save_atomically",
    "set_output_prior",
]


def __getattr__(name: str) -> ModuleType:
    """Import the whole networks when they are first used, so that a config needs only ``import monai_ext``."""
    if name == "nets":
        return import_module("monai_ext.networks.nets")
    raise AttributeError(f"module 'monai_ext.networks' has no attribute {name!r}")
