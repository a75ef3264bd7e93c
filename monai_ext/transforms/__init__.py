"""Transforms."""

from .bpmri import BpMRIPreprocessing
from .gland import CropToGlandd, GlandPredictor, gland_unet
from .grid import RememberGridd, ResampleToReferenced, RestoreToReferenced
from .high_b import HighBValued, extrapolate_b_value
from .intensity import ClipZScored, ScaleADCd
from .labels import CheckLabeld
from .load import LoadVolumed
from .siblings import SiblingModalitiesd, StackedModalitiesd
from .suv import suv_scale, to_suv

__all__ = [
    "BpMRIPreprocessing",
    "CheckLabeld",
    "ClipZScored",
    "CropToGlandd",
    "GlandPredictor",
    "HighBValued",
    "LoadVolumed",
    "RememberGridd",
    "ResampleToReferenced",
    "RestoreToReferenced",
    "ScaleADCd",
    "SiblingModalitiesd",
    "StackedModalitiesd",
    "extrapolate_b_value",
    "gland_unet",
    "suv_scale",
    "to_suv",
]
