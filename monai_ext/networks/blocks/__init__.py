"""Building blocks of the networks."""

from .instance_norm import InstanceNorm, instance_norm
from .mlstm import MLSTMCell, mlstm_chunkwise, mlstm_parallel, mlstm_recurrent, soft_cap
from .patches import mask_to_image, patch_grid, patchify, unpatchify
from .positions import sincos_positions
from .residual import ResidualBlock, residual_stage
from .transformer import TransformerBlock
from .visible_patches import SubmanifoldConv3d, VisiblePatches
from .vision_lstm import BlockDiagonalLinear, ViLBlock, ViLLayer

__all__ = [
    "BlockDiagonalLinear",
    "InstanceNorm",
    "MLSTMCell",
    "ResidualBlock",
    "SubmanifoldConv3d",
    "TransformerBlock",
    "ViLBlock",
    "ViLLayer",
    "VisiblePatches",
    "instance_norm",
    "mask_to_image",
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
