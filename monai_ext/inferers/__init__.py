"""How a network is run over data."""

from .precision import autocast, has_bf16
from .slices import SliceBatchInferer

__all__ = ["SliceBatchInferer", "autocast", "has_bf16"]
