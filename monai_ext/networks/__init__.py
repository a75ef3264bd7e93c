"""Networks, their blocks and their weights."""

from monai_ext.networks.weights import WeightReport, check_can_write, load_weights, read_checkpoint, save_atomically

__all__ = ["WeightReport", "check_can_write", "load_weights", "read_checkpoint", "save_atomically"]
