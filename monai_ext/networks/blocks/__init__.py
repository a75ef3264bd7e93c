"""Building blocks of the networks."""

from .patches import mask_to_image, patch_grid, patchify, unpatchify
from .positions import sincos_positions
from .transformer import TransformerBlock

__all__ = ["TransformerBlock", "mask_to_image", "patch_grid", "patchify", "sincos_positions", "unpatchify"]
