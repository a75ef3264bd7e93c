"""Transforms."""

from .anomaly_map import AnomalyMapd, anomaly_map
from .anomaly_mapper import AnomalyMapper, Views
from .augmentation import SegmentationAugmentation
from .bpmri import BpMRIPreprocessing
from .clicks import ClickChannels, RandClicksd, read_clicks
from .deformation import RandDeformd
from .detect_lesions import DetectLesionsd
from .dicom_seg import SaveDicomSegd
from .generator_scale import GENERATOR_SCALES, GeneratorScale
from .gland import CropToGlandd, GlandPredictor, gland_unet
from .gland_preprocessing import GlandPreprocessing
from .grid import RememberGridd, ResampleToReferenced, RestoreToReferenced
from .high_b import HighBValued, extrapolate_b_value
from .intensity import ClipZScored, ScaleADCd
from .labels import CheckLabeld
from .lesion_candidates import LesionCandidate, LesionCandidatesd, lesion_candidates
from .lesion_mask import LesionMaskd
from .load import LoadVolumed
from .misalignment import RandMisalignd
from .original_label import OriginalLabeld
from .pet import read_pet
from .petct import PETCTPreprocessing
from .prostate import ProstatePreprocessing, map_key
from .prostate_augmentation import ProstateAugmentation
from .prostate_crop import crop_affine, onto_grid
from .restore_labels import RestoreLabelsd, resample_labels
from .save_prediction import SavePredictiond
from .siblings import SiblingModalitiesd, StackedModalitiesd
from .slice_preprocessing import SlicePreprocessing
from .study import LoadStudy
from .suv import suv_scale, to_suv
from .views import RandomView
from .volume_preprocessing import VolumePreprocessing

__all__ = [
    "GENERATOR_SCALES",
    "AnomalyMapd",
    "AnomalyMapper",
    "BpMRIPreprocessing",
    "CheckLabeld",
    "ClickChannels",
    "ClipZScored",
    "CropToGlandd",
    "DetectLesionsd",
    "GeneratorScale",
    "GlandPredictor",
    "GlandPreprocessing",
    "HighBValued",
    "LesionCandidate",
    "LesionCandidatesd",
    "LesionMaskd",
    "LoadStudy",
    "LoadVolumed",
    "OriginalLabeld",
    "PETCTPreprocessing",
    "ProstateAugmentation",
    "ProstatePreprocessing",
    "RandClicksd",
    "RandDeformd",
    "RandMisalignd",
    "RandomView",
    "RememberGridd",
    "ResampleToReferenced",
    "RestoreLabelsd",
    "RestoreToReferenced",
    "SaveDicomSegd",
    "SavePredictiond",
    "ScaleADCd",
    "SegmentationAugmentation",
    "SiblingModalitiesd",
    "SlicePreprocessing",
    "StackedModalitiesd",
    "Views",
    "VolumePreprocessing",
    "anomaly_map",
    "crop_affine",
    "extrapolate_b_value",
    "gland_unet",
    "lesion_candidates",
    "map_key",
    "onto_grid",
    "read_clicks",
    "read_pet",
    "resample_labels",
    "suv_scale",
    "to_suv",
]
