"""What accompanies a run."""

from .anomaly_figure import GeneratorPreview, draw_anomalies
from .checkpoint import Checkpoints
from .clip_gradients import ClipGradients
from .detection_curves import DetectionCurves, draw_curves
from .ema import EMA
from .freeze import FreezeUntil
from .generator_record import GeneratorRecord
from .lesion_recall import LesionRecall
from .lesion_report import LesionReport
from .mask_report import MaskReport
from .nan_guard import NaNGuard
from .organ_preview import OrganPreview
from .progress import Progress
from .projection_preview import ProjectionPreview
from .prostate_report import ProstateReport
from .reconstruction_preview import ReconstructionPreview
from .report import RunReport
from .reproducible import SeedEpochs
from .segmentation_preview import SegmentationPreview
from .take_average import TakeAverage
from .training_run import TrainingRun
from .weights import WeightsLoader, is_null

__all__ = [
    "EMA",
    "Checkpoints",
    "ClipGradients",
    "DetectionCurves",
    "FreezeUntil",
    "GeneratorPreview",
    "GeneratorRecord",
    "LesionRecall",
    "LesionReport",
    "MaskReport",
    "NaNGuard",
    "OrganPreview",
    "Progress",
    "ProjectionPreview",
    "ProstateReport",
    "ReconstructionPreview",
    "RunReport",
    "SeedEpochs",
    "SegmentationPreview",
    "TakeAverage",
    "TrainingRun",
    "WeightsLoader",
    "draw_anomalies",
    "draw_curves",
    "is_null",
]
