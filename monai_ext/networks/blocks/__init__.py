"""Building blocks of the networks."""

from monai_ext.networks.blocks.instance_norm import InstanceNorm, instance_norm
from monai_ext.networks.blocks.mlstm import MLSTMCell, mlstm_chunkwise, mlstm_parallel, mlstm_recurrent, soft_cap
from monai_ext.networks.blocks.patches import mask_to_image, patch_grid, patchify, unpatchify
from monai_ext.networks.blocks.positions import sincos_positions
from monai_ext.networks.blocks.residual import ResidualBlock, residual_stage
from monai_ext.networks.blocks.transformer import TransformerBlock
from monai_ext.networks.blocks.visible_patches import SubmanifoldConv3d, VisiblePatches
from monai_ext.networks.blocks.vision_lstm import BlockDiagonalLinear, ViLBlock, ViLLayer

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
