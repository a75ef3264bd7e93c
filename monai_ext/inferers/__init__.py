"""Inferers run a network over slices and volumes."""

from monai_ext.inferers.ensemble import EnsembleInferer
from monai_ext.inferers.slices import SliceBatchInferer
from monai_ext.inferers.sliding_window import SlidingWindow

__all__ = [
    "EnsembleInferer",
    "SliceBatchInferer",
    "SlidingWindow",
]
