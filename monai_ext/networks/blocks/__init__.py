"""Building blocks of the networks."""

from monai_ext.networks.blocks.clustering import Clusters, PatchClustering, find_air
from monai_ext.networks.blocks.hidden_fill import HiddenFill
from monai_ext.networks.blocks.instance_norm import InstanceNorm, instance_norm
from monai_ext.networks.blocks.mlstm import MLSTMCell, mlstm_chunkwise, mlstm_parallel, mlstm_recurrent, soft_cap
from monai_ext.networks.blocks.patch_error import normalize_patches, patch_error, patch_moments, patch_targets
from monai_ext.networks.blocks.patches import mask_to_image, patch_grid, patchify, unpatchify
from monai_ext.networks.blocks.residual import ResidualBlock, residual_stage
from monai_ext.networks.blocks.scriptable import Scriptable
from monai_ext.networks.blocks.transformer import TransformerBlock
from monai_ext.networks.blocks.two_means import two_means
from monai_ext.networks.blocks.visible_patches import SubmanifoldConv3d, VisiblePatches
from monai_ext.networks.blocks.vision_lstm import BlockDiagonalLinear, ViLBlock, ViLLayer

__all__ = [
    "BlockDiagonalLinear",
    "Clusters",
    "HiddenFill",
    "InstanceNorm",
    "MLSTMCell",
    "PatchClustering",
    "ResidualBlock",
    "Scriptable",
    "SubmanifoldConv3d",
    "TransformerBlock",
    "ViLBlock",
    "ViLLayer",
    "VisiblePatches",
    "find_air",
    "instance_norm",
    "mask_to_image",
    "mlstm_chunkwise",
    "mlstm_parallel",
    "mlstm_recurrent",
    "normalize_patches",
    "patch_error",
    "patch_grid",
    "patch_moments",
    "patch_targets",
    "patchify",
    "residual_stage",
    "soft_cap",
    "two_means",
    "unpatchify",
]
