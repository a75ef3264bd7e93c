"""How a network is run over data."""

from .guided_diffusion import GuidedDiffusion
from .precision import autocast, has_bf16
from .reconstructor import Reconstructor
from .slices import SliceBatchInferer

__all__ = ["GuidedDiffusion", "Reconstructor", "SliceBatchInferer", "autocast", "has_bf16"]
