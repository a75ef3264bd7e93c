"""Handlers accompany a run: checkpoints, reports, pictures, progress, schedules."""

from monai_ext.handlers.anomaly_figure import GeneratorPreview, draw_anomalies
from monai_ext.handlers.checkpoint import Checkpoints
from monai_ext.handlers.click_curves import ClickCurves
from monai_ext.handlers.detection_curves import DetectionCurves, draw_curves
from monai_ext.handlers.ema import EMA
from monai_ext.handlers.evaluation_run import EvaluationRun
from monai_ext.handlers.freeze import FreezeUntil
from monai_ext.handlers.generator_record import GeneratorRecord
from monai_ext.handlers.learning_rate import LearningRate
from monai_ext.handlers.lesion_recall import LesionRecall
from monai_ext.handlers.lesion_report import LesionReport
from monai_ext.handlers.mask_report import MaskReport
from monai_ext.handlers.nan_guard import NaNGuard
from monai_ext.handlers.organ_preview import OrganPreview
from monai_ext.handlers.output_prior import OutputPrior
from monai_ext.handlers.pet_preview import PETPreview
from monai_ext.handlers.progress import Progress
from monai_ext.handlers.prostate_report import ProstateReport
from monai_ext.handlers.reconstruction_preview import ReconstructionPreview
from monai_ext.handlers.report import RunReport
from monai_ext.handlers.reproducible import SeedEpochs
from monai_ext.handlers.segmentation_preview import SegmentationPreview
from monai_ext.handlers.training_run import TrainingRun
from monai_ext.handlers.weights import WeightsLoader
from monai_ext.networks import is_null

__all__ = [
    "EMA",
    "Checkpoints",
    "ClickCurves",
    "DetectionCurves",
    "EvaluationRun",
    "FreezeUntil",
    "GeneratorPreview",
    "GeneratorRecord",
    "LearningRate",
    "LesionRecall",
    "LesionReport",
    "MaskReport",
    "NaNGuard",
    "OrganPreview",
    "OutputPrior",
    "PETPreview",
    "Progress",
    "ProstateReport",
    "ReconstructionPreview",
    "RunReport",
    "SeedEpochs",
    "SegmentationPreview",
    "TrainingRun",
    "WeightsLoader",
    "draw_anomalies",
    "draw_curves",
    "is_null",
]
