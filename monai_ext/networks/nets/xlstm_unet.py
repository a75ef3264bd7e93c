"""Residual U-Net with xLSTM in its encoder, and the masked autoencoder that pretrains this encoder.

Source: Mazher, Niederer and Qayyum, "Masked Autoencoder Pretraining and BiXLSTM-ResNet Architecture for PET/CT Tumor
Segmentation" (autoPET IV, 2025), section 2.4. The paper gives no layer sizes; those here come from its published
container, an xLSTM-UNet in nnU-Net. We depart from the container in three points:

- xLSTM reads the voxels in both directions, as the paper says (``bidirectional=False`` reads one, as the container
  does);
- tokens are always voxels: the container makes tokens of the channels where a stage has fewer voxels than channels,
  which ties the weights to one patch size;
- layers on which no loss depends are left out: a norm beside each xLSTM block, and the head of the coarsest decoder
  level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from monai.utils import ensure_tuple_rep
from torch import Tensor, nn

from monai_ext.networks.blocks import HiddenFill, Scriptable, ViLBlock, mask_to_image, residual_stage

__all__ = ["ResidualDecoder", "XLSTMEncoder", "XLSTMMaskedAutoencoder", "XLSTMUNet"]

Position = Literal["encoder", "bottleneck", "none"]


def default_blocks(num_stages: int, count: int) -> list[int]:
    """Blocks of the first ``count`` stages in order of computing: two in each of the first half, one in the others."""
    return [2 if s < (num_stages + 1) // 2 else 1 for s in range(count)]


class XLSTMEncoder(nn.Module):
    """Residual encoder; some stages end with a Vision-LSTM block over their voxels in row-major order.

    Args:
        in_channels: number of channels; 2 for CT and PET.
        channels: channels of every stage, finest first.
        strides: stride of every stage: one number, or one per axis.
        blocks: residual blocks of every stage; by default 2, 2, 2, 1, 1, 1, and with ``position="encoder"`` one more in
            each stage that has no xLSTM, as in the container.
        position: ``"bottleneck"`` puts xLSTM into the last stage (Table 2, Bot), ``"encoder"`` into the coarser half of
            the stages (Enc), ``"none"`` nowhere.
        bidirectional: False reads the voxels in one direction only.
        num_heads: number of heads of the mLSTM.
        gate_cap: bound of the gates, see :class:`~monai_ext.networks.blocks.MLSTMCell`.

    Raises:
        ValueError: when the position is unknown, or channels, strides and blocks differ in length.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import XLSTMEncoder
        >>> encoder = XLSTMEncoder(channels=(4, 8), strides=(1, 2), num_heads=2)
        >>> [tuple(features.shape) for features in encoder(torch.rand(1, 2, 8, 8, 8))]
        [(1, 4, 8, 8, 8), (1, 8, 4, 4, 4)]
    """

    def __init__(
        self,
        in_channels: int = 2,
        channels: Sequence[int] = (32, 64, 128, 256, 320, 320),
        strides: Sequence[int | Sequence[int]] = (1, 2, 2, 2, 2, 2),
        blocks: Sequence[int] | None = None,
        position: Position = "bottleneck",
        bidirectional: bool = True,
        num_heads: int = 4,
        gate_cap: float | None = 15.0,
    ) -> None:
        super().__init__()
        if position not in get_args(Position):
            raise ValueError(f"position {position!r} is not one of {get_args(Position)}")
        depth = len(channels)
        first = {"encoder": (depth + 1) // 2, "bottleneck": depth - 1, "none": depth}[position]
        if blocks is None:
            convolutions_alone = first if position == "encoder" else 0
            blocks = [n + (s < convolutions_alone) for s, n in enumerate(default_blocks(depth, depth))]
        if not depth == len(strides) == len(blocks):
            raise ValueError(
                f"{depth} channels, {len(strides)} strides and {len(blocks)} blocks: one of each per stage"
            )
        self.channels = tuple(channels)
        #: Voxels of the image along each axis per voxel of the last stage.
        self.total_stride = tuple(math.prod(axis) for axis in zip(*(ensure_tuple_rep(s, 3) for s in strides)))
        self.stem = residual_stage(in_channels, channels[0], num_blocks=2)
        self.stages = nn.ModuleList(
            residual_stage(channels[max(s - 1, 0)], channels[s], blocks[s], strides[s]) for s in range(depth)
        )
        self.xlstm = nn.ModuleDict(
            {str(s): ViLBlock(channels[s], bidirectional, num_heads, gate_cap) for s in range(first, depth)}
        )
        initialize_convolutions(self)

    def forward(self, image: Tensor) -> list[Tensor]:
        """``[B, in_channels, *spatial]`` -> the features of every stage, finest first."""
        x = self.stem(image)
        features = []
        for s, stage in enumerate(self.stages):
            x = stage(x)
            if str(s) in self.xlstm:
                tokens = self.xlstm[str(s)](x.flatten(2).transpose(-1, -2))
                x = tokens.transpose(-1, -2).unflatten(2, x.shape[2:])
            features.append(x)
        return features


class ResidualDecoder(nn.Module):
    """Residual decoder: nearest up-sampling and a 1x1x1 convolution, the skip, residual blocks; heads at fine levels.

    Args:
        channels: channels of the encoder's stages, finest first.
        out_channels: channels of the output.
        blocks: residual blocks of every level, coarsest first; by default 2, 2, 2, 1, 1.
        skips: False gives the decoder the coarsest features alone.
        num_outputs: number of levels with a head, counted from the finest.

    Raises:
        ValueError: when the numbers of blocks or of outputs do not fit the levels.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import ResidualDecoder
        >>> decoder = ResidualDecoder(channels=(4, 8, 16), out_channels=2, num_outputs=2)
        >>> features = [torch.rand(1, 4, 16, 16, 16), torch.rand(1, 8, 8, 8, 8), torch.rand(1, 16, 4, 4, 4)]
        >>> [tuple(output.shape) for output in decoder(features)]
        [(1, 2, 16, 16, 16), (1, 2, 8, 8, 8)]
    """

    def __init__(
        self,
        channels: Sequence[int],
        out_channels: int,
        blocks: Sequence[int] | None = None,
        skips: bool = True,
        num_outputs: int = 1,
    ) -> None:
        super().__init__()
        below, here = list(channels[:0:-1]), list(channels[-2::-1])
        blocks = default_blocks(len(channels), len(here)) if blocks is None else blocks
        if len(blocks) != len(here):
            raise ValueError(f"{len(blocks)} numbers of blocks for {len(here)} decoder levels")
        if not 1 <= num_outputs <= len(here):
            raise ValueError(f"num_outputs {num_outputs} is not between 1 and the {len(here)} decoder levels")
        self.skips = skips
        self.up = nn.ModuleList(nn.Conv3d(b, h, 1) for b, h in zip(below, here))
        self.stages = nn.ModuleList(residual_stage(h * (1 + skips), h, n) for h, n in zip(here, blocks))
        self.heads = nn.ModuleList(nn.Conv3d(h, out_channels, 1) for h in here[-num_outputs:])
        initialize_convolutions(self)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Features of every stage, finest first -> ``num_outputs`` outputs, finest first, each of its level's size."""
        x = features[-1]
        levels = []
        for up, stage, skip in zip(self.up, self.stages, features[-2::-1]):
            # Convolving before up-sampling equals convolving after it, at an eighth of the work; the size is the
            # skip's, so that an axis need not be a multiple of the strides.
            x = F.interpolate(up(x), size=skip.shape[2:], mode="nearest")
            x = stage(torch.cat([x, skip], dim=1) if self.skips else x)
            levels.append(x)
        return [head(level) for head, level in zip(self.heads, levels[-len(self.heads) :])][::-1]


def initialize_convolutions(module: nn.Module) -> None:
    """He's initialization for leaky ReLUs of slope 0.01, biases zero, as nnU-Net does."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv3d):
            nn.init.kaiming_normal_(layer.weight, a=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class XLSTMUNet(Scriptable):
    """BiXLSTM-ResNet: the segmentation network of the paper (section 2.4, stage 2).

    Args:
        in_channels: number of channels; 2 for CT and PET.
        out_channels: number of classes; 2 for background and lesion.
        deep_supervision: number of outputs in training, counted from the finest. By default every level has one except
            the coarsest, whose head would never learn because nnU-Net gives it the weight zero.
        decoder_blocks: ``blocks`` of :class:`ResidualDecoder`.
        **encoder: further arguments of :class:`XLSTMEncoder`.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import XLSTMUNet
        >>> network = XLSTMUNet(channels=(4, 8, 16, 16), strides=(1, 2, 2, 2), num_heads=2)
        >>> image = torch.rand(1, 2, 16, 16, 16)
        >>> network.eval()(image).shape
        torch.Size([1, 2, 16, 16, 16])
        >>> [tuple(logits.shape) for logits in network.train()(image)]
        [(1, 2, 16, 16, 16), (1, 2, 8, 8, 8)]
    """

    def __init__(
        self,
        in_channels: int = 2,
        out_channels: int = 2,
        deep_supervision: int | None = None,
        decoder_blocks: Sequence[int] | None = None,
        **encoder: Any,
    ) -> None:
        super().__init__()
        self.encoder = XLSTMEncoder(in_channels, **encoder)
        outputs = max(1, len(self.encoder.channels) - 2) if deep_supervision is None else deep_supervision
        self.decoder = ResidualDecoder(self.encoder.channels, out_channels, decoder_blocks, num_outputs=outputs)

    @property
    def example_size(self) -> tuple[int, ...]:
        """A small image."""
        return tuple(2 * stride for stride in self.encoder.total_stride)

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """``[B, in_channels, *spatial]`` -> logits ``[B, out_channels, *spatial]``.

        In training with ``deep_supervision`` above one: a list of logits, the full size first, each next one at the
        size of the next coarser stage, for :class:`monai.losses.DeepSupervisionLoss`. A coarsest stage of a single
        voxel cannot be normalized, which raises ValueError.
        """
        logits = self.decoder(self.encoder(image))
        return logits if self.training and len(logits) > 1 else logits[0]


class XLSTMMaskedAutoencoder(nn.Module):
    """Masked autoencoder around the same encoder (section 2.4, stage 1).

    The paper does not describe it. Here the voxels of masked blocks are a learned value of each channel
    (:class:`~monai_ext.networks.blocks.HiddenFill`). The whole image is predicted without skips, so all information
    must pass the encoder's last stage. The weights named ``encoder.`` are those of :class:`XLSTMUNet`; the others share
    no name with it.

    Args:
        in_channels: number of channels; 2 for CT and PET.
        patch_size: voxels of a masked block along each axis.
        decoder_blocks: ``blocks`` of :class:`ResidualDecoder`.
        **encoder: further arguments of :class:`XLSTMEncoder`.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import XLSTMMaskedAutoencoder
        >>> network = XLSTMMaskedAutoencoder(patch_size=(8, 8, 8), channels=(4, 8), strides=(1, 2), num_heads=2)
        >>> mask = torch.tensor([[True, False]])
        >>> network(torch.rand(1, 2, 8, 8, 16), mask).shape
        torch.Size([1, 2, 8, 8, 16])
    """

    def __init__(
        self,
        in_channels: int = 2,
        patch_size: Sequence[int] = (16, 16, 16),
        decoder_blocks: Sequence[int] | None = None,
        **encoder: Any,
    ) -> None:
        super().__init__()
        self.patch_size = tuple(patch_size)
        self.fill = HiddenFill(in_channels)
        self.encoder = XLSTMEncoder(in_channels, **encoder)
        self.reconstruction = ResidualDecoder(self.encoder.channels, in_channels, decoder_blocks, skips=False)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Reconstruct an image from its visible blocks.

        Args:
            image: ``[B, in_channels, *spatial]``, whole blocks along each axis.
            mask: bool ``[B, N]``, True = masked, blocks in row-major order.

        Returns:
            ``[B, in_channels, *spatial]``.
        """
        hidden = mask_to_image(mask, image.shape[2:], self.patch_size)
        return self.reconstruction(self.encoder(self.fill(image, hidden)))[0]
