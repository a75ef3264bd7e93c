"""Networks, their blocks and their weights."""

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
    "WeightReport",
    "check_can_write",
    "is_null",
    "load_weights",
    "param_groups",
    "read_checkpoint",
    "save_atomically",
]
