"""Training steps of the papers on MONAI's Ignite engines."""

from monai_ext.engines.click_evaluator import ClickEvaluator
from monai_ext.engines.contrastive_pretraining import ContrastivePretrainer
from monai_ext.engines.domain_head import DomainHeadTraining
from monai_ext.engines.fixed_point_trainer import FixedPointTrainer
from monai_ext.engines.masked_pretraining import MaskedEvaluator, MaskedPretrainer
from monai_ext.engines.reconstruction import ReconstructionTrainer, ReconstructionTraining
from monai_ext.engines.seeded_trainer import SeededTrainer, seed_step
from monai_ext.engines.segmentation import SegmentationEvaluator, SegmentationTrainer
from monai_ext.engines.self_training import SelfTrainer, ramp_up
from monai_ext.engines.studies import StudyEvaluator

__all__ = [
    "ClickEvaluator",
    "ContrastivePretrainer",
    "DomainHeadTraining",
    "FixedPointTrainer",
    "MaskedEvaluator",
    "MaskedPretrainer",
    "ReconstructionTrainer",
    "ReconstructionTraining",
    "SeededTrainer",
    "SegmentationEvaluator",
    "SegmentationTrainer",
    "SelfTrainer",
    "StudyEvaluator",
    "ramp_up",
    "seed_step",
]
