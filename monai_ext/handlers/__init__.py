"""What accompanies a run."""

from .checkpoint import Checkpoints
from .freeze import FreezeUntil
from .nan_guard import NaNGuard
from .progress import Progress
from .reproducible import SeedEpochs
from .weights import WeightsLoader, is_null

__all__ = ["Checkpoints", "FreezeUntil", "NaNGuard", "Progress", "SeedEpochs", "WeightsLoader", "is_null"]
