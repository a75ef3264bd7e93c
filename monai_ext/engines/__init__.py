"""Training steps of the papers on MONAI's Ignite engines."""

from monai_ext.engines.contrastive_pretraining import ContrastivePretrainer
from monai_ext.engines.fixed_point_trainer import FixedPointTrainer
from monai_ext.engines.mapping import MapPhase
from monai_ext.engines.masked_pretraining import MaskedEvaluator, MaskedPretrainer
from monai_ext.engines.param_groups import param_groups
from monai_ext.engines.processes import distribute, end_processes, process_device, shard_device
from monai_ext.engines.reconstruction import ReconstructionTrainer, ReconstructionTraining
from monai_ext.engines.seeded_trainer import SeededTrainer, seed_step
from monai_ext.engines.threshold_fit import fit_threshold

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
