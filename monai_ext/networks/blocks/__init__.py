"""Building blocks of the networks."""

from .masked_norm import MaskedInstanceNorm, masked_instance_norm
from .mlstm import MLSTMCell, mlstm_chunkwise, mlstm_parallel, mlstm_recurrent, soft_cap
from .patches import mask_to_image, patch_grid, patchify, unpatchify
from .positions import sincos_positions
from .residual import ResidualBlock, residual_stage
from .transformer import TransformerBlock
from .vision_lstm import BlockDiagonalLinear, ViLBlock, ViLLayer

__all__ = [
    "BlockDiagonalLinear",
    "MLSTMCell",
    "MaskedInstanceNorm",
    "ResidualBlock",
    "TransformerBlock",
    "ViLBlock",
    "ViLLayer",
    "mask_to_image",
    "masked_instance_norm",
    "mlstm_chunkwise",
    "mlstm_parallel",
    "mlstm_recurrent",
    "patch_grid",
    "patchify",
    "residual_stage",
    "sincos_positions",
    "soft_cap",
    "unpatchify",
]
