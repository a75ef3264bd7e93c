"""Losses of the papers."""

from .focal_dice import FocalDiceLoss
from .masked_patch import MaskedPatchLoss, normalize_patches

__all__ = ["FocalDiceLoss", "MaskedPatchLoss", "normalize_patches"]
