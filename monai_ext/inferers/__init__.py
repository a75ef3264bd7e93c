"""How a network is run over data."""

from .ensemble import EnsembleInferer
from .guided_diffusion import GuidedDiffusion
from .precision import autocast, has_bf16
from .reconstructor import RECONSTRUCTORS, Reconstructor, build_reconstructor
from .slices import SliceBatchInferer
from .sliding_window import SlidingWindow

__all__ = [
    "RECONSTRUCTORS",
    "EnsembleInferer",
    "GuidedDiffusion",
    "Reconstructor",
    "SliceBatchInferer",
    "SlidingWindow",
    "autocast",
    "build_reconstructor",
    "has_bf16",
]
