"""Transforms."""

from .anomaly_map import AnomalyMapd, anomaly_map
from .bpmri import BpMRIPreprocessing
from .gland import CropToGlandd, GlandPredictor, gland_unet
from .gland_preprocessing import GlandPreprocessing
from .grid import RememberGridd, ResampleToReferenced, RestoreToReferenced
from .high_b import HighBValued, extrapolate_b_value
from .intensity import ClipZScored, ScaleADCd
from .labels import CheckLabeld
from .lesion_candidates import LesionCandidate, LesionCandidatesd, lesion_candidates
from .load import LoadVolumed
from .siblings import SiblingModalitiesd, StackedModalitiesd
from .study import LoadStudy
from .suv import suv_scale, to_suv

__all__ = [
    "AnomalyMapd",
    "BpMRIPreprocessing",
    "CheckLabeld",
    "ClipZScored",
    "CropToGlandd",
    "GlandPredictor",
    "GlandPreprocessing",
    "HighBValued",
    "LesionCandidate",
    "LesionCandidatesd",
    "LoadStudy",
    "LoadVolumed",
    "RememberGridd",
    "ResampleToReferenced",
    "RestoreToReferenced",
    "ScaleADCd",
    "SiblingModalitiesd",
    "StackedModalitiesd",
    "anomaly_map",
    "extrapolate_b_value",
    "gland_unet",
    "lesion_candidates",
    "suv_scale",
    "to_suv",
]
