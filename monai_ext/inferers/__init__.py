"""How a network is run over data."""

from .guided_diffusion import GuidedDiffusion
from .precision import autocast, has_bf16
from .reconstructor import Reconstructor
from .slices import SliceBatchInferer
from .sliding_window import SlidingWindow

__all__ = ["GuidedDiffusion", "Reconstructor", "SliceBatchInferer", "SlidingWindow", "autocast", "has_bf16"]
