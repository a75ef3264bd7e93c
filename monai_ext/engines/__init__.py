"""Training steps of the papers on MONAI's Ignite engines."""

from .contrastive_pretraining import ContrastivePretrainer
from .fixed_point_trainer import FixedPointTrainer
from .mapping import MapPhase
from .masked_pretraining import MaskedEvaluator, MaskedPretrainer
from .param_groups import param_groups
from .processes import distribute, end_processes, process_device, shard_device
from .reconstruction import ReconstructionTrainer, ReconstructionTraining
from .seeded_trainer import SeededTrainer, seed_step
from .threshold_fit import fit_threshold

__all__ = [
    "ContrastivePretrainer",
    "FixedPointTrainer",
    "MapPhase",
    "MaskedEvaluator",
    "MaskedPretrainer",
    "ReconstructionTrainer",
    "ReconstructionTraining",
    "SeededTrainer",
    "distribute",
    "end_processes",
    "fit_threshold",
    "param_groups",
    "process_device",
    "seed_step",
    "shard_device",
]
