"""Losses of the papers."""

from monai_ext.losses.amlp import AMLPLoss, relative_error, update_labels
from monai_ext.losses.deep_supervision import DeepSupervisionLoss, DiceCELoss
from monai_ext.losses.fixed_point import (
    AdversarialLoss,
    FixedPointDiscriminatorLoss,
    FixedPointGeneratorLoss,
    gradient_penalty,
    other_domain,
)
from monai_ext.losses.focal_ce import FocalCELoss
from monai_ext.losses.focal_dice import FocalDiceLoss
from monai_ext.losses.masked_patch import MaskedPatchLoss, normalize_patches
from monai_ext.losses.masked_voxels import MaskedVoxelLoss
from monai_ext.losses.reconstruction import AutoencoderLoss, DiffusionLoss

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
