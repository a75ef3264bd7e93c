"""Losses of the papers."""

from monai_ext.losses.amlp import AMLPLoss, relative_error, update_labels
from monai_ext.losses.deep_supervision import DeepSupervisionLoss, MemoryEfficientDiceCELoss
from monai_ext.losses.fixed_point import (
    AdversarialLoss,
    FixedPointDiscriminatorLoss,
    FixedPointGeneratorLoss,
    gradient_penalty,
    other_domain,
)
from monai_ext.losses.focal_ce import FocalCELoss
from monai_ext.losses.focal_dice import FocalDiceLoss
from monai_ext.losses.guided_diffusion import DiffusionLoss, classifier_loss, noise_loss
from monai_ext.losses.masked_patch import MaskedPatchLoss
from monai_ext.losses.masked_voxels import MaskedVoxelLoss
from monai_ext.losses.reconstruction import AutoencoderLoss
from monai_ext.losses.restoration import RestorationLoss
from monai_ext.losses.sure_voxels import SureVoxelLoss, sure_labels

__all__ = [
    "AMLPLoss",
    "AdversarialLoss",
    "AutoencoderLoss",
    "DeepSupervisionLoss",
    "DiffusionLoss",
    "FixedPointDiscriminatorLoss",
    "FixedPointGeneratorLoss",
    "FocalCELoss",
    "FocalDiceLoss",
    "MaskedPatchLoss",
    "MaskedVoxelLoss",
    "MemoryEfficientDiceCELoss",
    "RestorationLoss",
    "SureVoxelLoss",
    "classifier_loss",
    "gradient_penalty",
    "noise_loss",
    "other_domain",
    "relative_error",
    "sure_labels",
    "update_labels",
]
