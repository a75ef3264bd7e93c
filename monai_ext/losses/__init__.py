"""Losses of the papers."""

from .masked_patch import MaskedPatchLoss, normalize_patches

__all__ = ["MaskedPatchLoss", "normalize_patches"]
