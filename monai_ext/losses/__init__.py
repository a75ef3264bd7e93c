"""Losses of the papers."""

from .amlp import AMLPLoss, relative_error, update_labels
from .deep_supervision import DeepSupervisionLoss, DiceCELoss
from .fixed_point import (
    AdversarialLoss,
    FixedPointDiscriminatorLoss,
    FixedPointGeneratorLoss,
    gradient_penalty,
    other_domain,
)
from .focal_dice import FocalDiceLoss
from .masked_patch import MaskedPatchLoss, normalize_patches

__all__ = [
    "AMLPLoss",
    "AdversarialLoss",
    "DeepSupervisionLoss",
    "DiceCELoss",
    "FixedPointDiscriminatorLoss",
    "FixedPointGeneratorLoss",
    "FocalDiceLoss",
    "MaskedPatchLoss",
    "gradient_penalty",
    "normalize_patches",
    "other_domain",
    "relative_error",
    "update_labels",
]
