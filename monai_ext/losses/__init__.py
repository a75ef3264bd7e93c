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
from .focal_ce import FocalCELoss
from .focal_dice import FocalDiceLoss
from .masked_patch import MaskedPatchLoss, normalize_patches
from .masked_voxels import MaskedVoxelLoss
from .reconstruction import AutoencoderLoss, DiffusionLoss

__all__ = [
    "AMLPLoss",
    "AdversarialLoss",
    "AutoencoderLoss",
    "DeepSupervisionLoss",
    "DiceCELoss",
    "DiffusionLoss",
    "FixedPointDiscriminatorLoss",
    "FixedPointGeneratorLoss",
    "FocalCELoss",
    "FocalDiceLoss",
    "MaskedPatchLoss",
    "MaskedVoxelLoss",
    "gradient_penalty",
    "normalize_patches",
    "other_domain",
    "relative_error",
    "update_labels",
]
