"""How a network is run over data."""

from monai_ext.inferers.ensemble import EnsembleInferer
from monai_ext.inferers.guided_diffusion import GuidedDiffusion
from monai_ext.inferers.precision import autocast, has_bf16
from monai_ext.inferers.reconstructor import RECONSTRUCTORS, Reconstructor, build_reconstructor
from monai_ext.inferers.slices import SliceBatchInferer
from monai_ext.inferers.sliding_window import SlidingWindow

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
