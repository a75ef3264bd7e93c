"""What accompanies a run."""

from .checkpoint import Checkpoints
from .clip_gradients import ClipGradients
from .ema import EMA
from .freeze import FreezeUntil
from .lesion_recall import LesionRecall
from .nan_guard import NaNGuard
from .progress import Progress
from .reconstruction_preview import ReconstructionPreview
from .report import RunReport
from .reproducible import SeedEpochs
from .segmentation_preview import SegmentationPreview
from .training_run import TrainingRun
from .weights import WeightsLoader, is_null

__all__ = [
    "EMA",
    "Checkpoints",
    "ClipGradients",
    "FreezeUntil",
    "LesionRecall",
    "NaNGuard",
    "Progress",
    "ReconstructionPreview",
    "RunReport",
    "SeedEpochs",
    "SegmentationPreview",
    "TrainingRun",
    "WeightsLoader",
    "is_null",
]
