"""Training steps of the papers on MONAI's Ignite engines."""

from .fixed_point_trainer import FixedPointTrainer
from .masked_pretraining import MaskedEvaluator, MaskedPretrainer
from .param_groups import param_groups

__all__ = ["FixedPointTrainer", "MaskedEvaluator", "MaskedPretrainer", "param_groups"]
