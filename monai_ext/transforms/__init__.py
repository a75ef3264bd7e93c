"""Transforms."""

from monai_ext.transforms.anomaly_channels import AnomalyChannelsd
from monai_ext.transforms.anomaly_map import anomaly_map
from monai_ext.transforms.anomaly_mapper import AnomalyMapper, Views
from monai_ext.transforms.augmentation import SegmentationAugmentation
from monai_ext.transforms.batch_augmentation import BatchAugmentation
from monai_ext.transforms.bpmri import BpMRIPreprocessing
from monai_ext.transforms.clicks import ClickChannels, RandClicksd, read_clicks
from monai_ext.transforms.components import KeepComponentsd
from monai_ext.transforms.cutmix import CutMix
from monai_ext.transforms.deformation import RandDeformd
from monai_ext.transforms.detect_lesions import DetectLesionsd
from monai_ext.transforms.dicom_seg import SaveDicomSegd
from monai_ext.transforms.generator_scale import GENERATOR_SCALES, GeneratorScale
from monai_ext.transforms.gland import CropToGlandd, GlandPredictor, gland_unet
from monai_ext.transforms.gland_preprocessing import GlandPreprocessing
from monai_ext.transforms.grid import RememberGridd, ResampleToReferenced, RestoreLabelsd, RestoreToReferenced
from monai_ext.transforms.high_b import HighBValued, extrapolate_b_value
from monai_ext.transforms.intensity import ClipZScored, ScaleADCd
from monai_ext.transforms.labels import CheckLabeld
from monai_ext.transforms.lesion_mask import LesionMaskd
from monai_ext.transforms.lesion_output import LesionOutput, LesionProbability
from monai_ext.transforms.load import LoadVolumed
from monai_ext.transforms.mask_output import MaskOutput
from monai_ext.transforms.misalignment import RandMisalignd
from monai_ext.transforms.original_label import OriginalLabeld
from monai_ext.transforms.petct import PETCTPreprocessing
from monai_ext.transforms.prostate import ProstatePreprocessing, map_key
from monai_ext.transforms.prostate_augmentation import ProstateAugmentation
from monai_ext.transforms.prostate_crop import crop_affine
from monai_ext.transforms.resample import onto_grid, resample_labels
from monai_ext.transforms.save_prediction import SavePredictiond
from monai_ext.transforms.siblings import SiblingModalitiesd, StackedModalitiesd
from monai_ext.transforms.slice_jitter import SliceJitter
from monai_ext.transforms.slice_preprocessing import SlicePreprocessing
from monai_ext.transforms.study import LoadStudy
from monai_ext.transforms.synthetic_lesions import SyntheticLesions
from monai_ext.transforms.views import RandomView
from monai_ext.transforms.volume_preprocessing import VolumePreprocessing

__all__ = [
    "GENERATOR_SCALES",
    "AnomalyChannelsd",
    "AnomalyMapper",
    "BatchAugmentation",
    "BpMRIPreprocessing",
    "CheckLabeld",
    "ClickChannels",
    "ClipZScored",
    "CropToGlandd",
    "CutMix",
    "DetectLesionsd",
    "GeneratorScale",
    "GlandPredictor",
    "GlandPreprocessing",
    "HighBValued",
    "KeepComponentsd",
    "LesionMaskd",
    "LesionOutput",
    "LesionProbability",
    "LoadStudy",
    "LoadVolumed",
    "MaskOutput",
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
    "SliceJitter",
    "SlicePreprocessing",
    "StackedModalitiesd",
    "SyntheticLesions",
    "Views",
    "VolumePreprocessing",
    "anomaly_map",
    "crop_affine",
    "extrapolate_b_value",
    "gland_unet",
    "map_key",
    "onto_grid",
    "read_clicks",
    "resample_labels",
]
