"""Training steps of the papers on MONAI's Ignite engines."""

from .masked_pretraining import MaskedEvaluator, MaskedPretrainer
from .param_groups import param_groups

__all__ = ["MaskedEvaluator", "MaskedPretrainer", "param_groups"]
