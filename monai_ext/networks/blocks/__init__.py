"""Building blocks of the networks."""

from .patches import mask_to_image, patch_grid, patchify, unpatchify

__all__ = ["mask_to_image", "patch_grid", "patchify", "unpatchify"]
