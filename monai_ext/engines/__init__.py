"""Training steps of the papers on MONAI's Ignite engines."""

from .contrastive_pretraining import ContrastivePretrainer
from .fixed_point_trainer import FixedPointTrainer
from .mapping import MapPhase
from .masked_pretraining import MaskedEvaluator, MaskedPretrainer
from .param_groups import param_groups
from .processes import distribute, end_processes, process_device
from .reconstruction import ReconstructionTrainer, ReconstructionTraining

__all__ = [
    "ContrastivePretrainer",
    "FixedPointTrainer",
    "MapPhase",
    "MaskedEvaluator",
    "MaskedPretrainer",
    "ReconstructionTrainer",
    "ReconstructionTraining",
    "distribute",
    "end_processes",
    "param_groups",
    "process_device",
]
