"""Networks, their blocks and their weights."""

from .weights import WeightReport, load_weights, read_checkpoint, save_atomically

__all__ = ["WeightReport", "load_weights", "read_checkpoint", "save_atomically"]
