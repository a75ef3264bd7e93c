"""Residual encoder U-Net of nnU-Net (ResEnc), the network of the published encoders; xLSTM at its bottleneck if asked.

Source: Isensee et al., "nnU-Net Revisited" (2024). The parameters have the names of OpenMind's checkpoints (Wald et al.
2025), which come from ``dynamic-network-architectures``. That package asks for timm, and through it for torchvision,
which nothing here needs. So the network is written out, and a test holds it to that package: the same parameters in the
same order, and the same output.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from monai.utils import ensure_tuple_rep
from torch import Tensor, nn

from monai_ext.networks.blocks import InstanceNorm, Scriptable, ViLBlock
from monai_ext.networks.nets.stunet import initialize

__all__ = ["RESENC_L", "ResidualEncoder", "ResidualEncoderUNet"]

Position = Literal["bottleneck", "none"]

Stride = tuple[int, int, int]

#: Width and residual blocks of every stage of ResEnc-L as nnssl pretrains it, with strides of 2 after the first.
RESENC_L = ((32, 64, 128, 256, 320, 320), (1, 3, 4, 6, 6, 6))


class ConvNorm(nn.Module):
    """Convolution and instance norm, and leaky ReLU of slope 0.01 unless told otherwise."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 3, stride: Stride = (1, 1, 1), act: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels, kernel, stride, kernel // 2, bias=kernel > 1)
        self.norm = InstanceNorm(out_channels, inplace=True)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """``[B, in, *spatial]`` -> ``[B, out, *(spatial / stride)]``."""
        x = self.norm(self.conv(x))
        return F.leaky_relu_(x, 0.01) if self.act else x


class ConvStack(nn.Module):
    """Convolutions one after another: the stem, and a stage of the decoder."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(ConvNorm(in_channels, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """``[B, in, *spatial]`` -> ``[B, out, *spatial]``."""
        return self.convs(x)


class ResidualBlockD(nn.Module):
    """Residual block of ResNet-D: the skip takes means where the block strides, a 1x1x1 convolution where it widens."""

    def __init__(self, in_channels: int, out_channels: int, stride: Stride = (1, 1, 1)) -> None:
        super().__init__()
        self.conv1 = ConvNorm(in_channels, out_channels, stride=stride)
        self.conv2 = ConvNorm(out_channels, out_channels, act=False)
        pool = [nn.AvgPool3d(stride, stride)] if any(s > 1 for s in stride) else []
        widen = [ConvNorm(in_channels, out_channels, kernel=1, act=False)] if in_channels != out_channels else []
        self.skip = nn.Sequential(*pool, *widen)
        nn.init.zeros_(self.conv2.norm.weight)  # as nnU-Net starts: every block is its skip

    def forward(self, x: Tensor) -> Tensor:
        """``[B, in, *spatial]`` -> ``[B, out, *(spatial / stride)]``."""
        return F.leaky_relu_(self.conv2(self.conv1(x)).add_(self.skip(x)), 0.01)


class ResidualStage(nn.Module):
    """Residual blocks of one scale, the first of which strides."""

    def __init__(self, in_channels: int, out_channels: int, depth: int, stride: Stride) -> None:
        super().__init__()
        first = ResidualBlockD(in_channels, out_channels, stride)
        self.blocks = nn.Sequential(first, *(ResidualBlockD(out_channels, out_channels) for _ in range(depth - 1)))

    def forward(self, x: Tensor) -> Tensor:
        """``[B, in, *spatial]`` -> ``[B, out, *(spatial / stride)]``."""
        return self.blocks(x)


class ResidualEncoder(nn.Module):
    """The encoder that segmentation and masked pretraining share. The defaults are ResEnc-L.

    Args:
        in_channels: channels of the image.
        channels: of every stage, finest first.
        strides: of every stage: one number, or one per axis.
        blocks: residual blocks of every stage.
        position: ``"bottleneck"`` ends the last stage with a Vision-LSTM block, as in the bundle autopet_bixlstm;
            ``"none"`` is the published network.
        bidirectional: whether that block reads the voxels in both directions.

    Raises:
        ValueError: when the position is unknown, or channels, strides and blocks differ in length.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import ResidualEncoder
        >>> encoder = ResidualEncoder(1, channels=[4, 8], strides=[1, 2], blocks=[1, 1])
        >>> [tuple(feature.shape) for feature in encoder(torch.zeros(1, 1, 8, 8, 8))]
        [(1, 4, 8, 8, 8), (1, 8, 4, 4, 4)]
    """

    def __init__(
        self,
        in_channels: int = 1,
        channels: Sequence[int] = RESENC_L[0],
        strides: Sequence[int | Sequence[int]] = (1, 2, 2, 2, 2, 2),
        blocks: Sequence[int] = RESENC_L[1],
        position: Position = "none",
        bidirectional: bool = True,
    ) -> None:
        super().__init__()
        if position not in get_args(Position):
            raise ValueError(f"position {position!r} is not one of {get_args(Position)}")
        if not len(channels) == len(strides) == len(blocks):
            raise ValueError(f"{len(channels)} channels, {len(strides)} strides, {len(blocks)} blocks: one per stage")
        self.channels, self.blocks = tuple(channels), tuple(blocks)
        self.strides: tuple[Stride, ...] = tuple(ensure_tuple_rep(stride, 3) for stride in strides)  # type: ignore[misc]
        self.stem = ConvStack(in_channels, channels[0])
        self.stages = nn.Sequential(
            *(
                ResidualStage(cin, cout, depth, stride)
                for cin, cout, depth, stride in zip((channels[0], *channels), channels, blocks, self.strides)
            )
        )
        self.xlstm = ViLBlock(channels[-1], bidirectional) if position == "bottleneck" else None
        self.apply(initialize)

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Voxels of the image along each axis per voxel of the last stage."""
        return tuple(math.prod(axis) for axis in zip(*self.strides))

    def forward(self, image: Tensor) -> list[Tensor]:
        """``[B, in_channels, *spatial]`` -> the features of every stage, finest first.

        Raises:
            ValueError: when the image does not divide by the total stride, or its last stage would be a single voxel.
        """
        if not torch.jit.is_tracing():
            size, stride = tuple(image.shape[2:]), self.total_stride
            if any(s % t for s, t in zip(size, stride)) or size == stride:
                raise ValueError(f"image size {size} is not a multiple of {stride} with more than one voxel left")
        x = self.stem(image.as_tensor() if isinstance(image, MetaTensor) else image)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        if self.xlstm is not None:
            tokens = self.xlstm(x.flatten(2).transpose(-1, -2))
            features[-1] = tokens.transpose(-1, -2).unflatten(2, x.shape[2:])
        return features


class UNetDecoder(nn.Module):
    """Transposed convolution, skip, one convolution at every level; heads at every level or at the finest alone."""

    def __init__(
        self, channels: Sequence[int], strides: Sequence[Stride], num_classes: int, deep_supervision: bool
    ) -> None:
        super().__init__()
        below, here, steps = channels[:0:-1], channels[-2::-1], strides[:0:-1]
        self.stages = nn.ModuleList(ConvStack(2 * h, h) for h in here)
        self.transpconvs = nn.ModuleList(nn.ConvTranspose3d(b, h, s, s) for b, h, s in zip(below, here, steps))
        # The published network always has every head. Without deep supervision only the last would learn, so only it is
        # there, under its published number.
        first = 0 if deep_supervision else len(here) - 1
        self.seg_layers = nn.ModuleDict({str(i): nn.Conv3d(here[i], num_classes, 1) for i in range(first, len(here))})
        self.apply(initialize)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Features of every stage, finest first -> logits, finest first; in evaluation only the finest."""
        x, outputs = features[-1], list[Tensor]()
        for i, (up, stage, skip) in enumerate(zip(self.transpconvs, self.stages, features[-2::-1])):
            x = stage(torch.cat([up(x), skip], 1))
            if i == len(self.stages) - 1 or (self.training and str(i) in self.seg_layers):
                outputs.insert(0, self.seg_layers[str(i)](x))
        return outputs


class ResidualEncoderUNet(Scriptable):
    """ResEnc U-Net (Isensee et al. 2024): 102.35 M parameters as ResEnc-L with one channel and two classes.

    Weights of published encoders load through :func:`monai_ext.networks.published.load_published`.

    Args:
        in_channels: channels of the image.
        num_classes: channels of the output, the background included.
        channels: see :class:`ResidualEncoder`.
        strides: see :class:`ResidualEncoder`.
        blocks: see :class:`ResidualEncoder`.
        position: see :class:`ResidualEncoder`.
        bidirectional: see :class:`ResidualEncoder`.
        deep_supervision: in training, predict at every scale of the decoder.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import ResidualEncoderUNet
        >>> network = ResidualEncoderUNet(1, 3, channels=[4, 8], strides=[1, 2], blocks=[1, 1]).eval()
        >>> network(torch.zeros(1, 1, 8, 8, 8)).shape
        torch.Size([1, 3, 8, 8, 8])
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 2,
        channels: Sequence[int] = RESENC_L[0],
        strides: Sequence[int | Sequence[int]] = (1, 2, 2, 2, 2, 2),
        blocks: Sequence[int] = RESENC_L[1],
        position: Position = "none",
        bidirectional: bool = True,
        deep_supervision: bool = True,
    ) -> None:
        super().__init__()
        self.encoder = ResidualEncoder(in_channels, channels, strides, blocks, position, bidirectional)
        self.decoder = UNetDecoder(self.encoder.channels, self.encoder.strides, num_classes, deep_supervision)

    @property
    def example_size(self) -> tuple[int, ...]:
        """A small image."""
        return tuple(2 * stride for stride in self.encoder.total_stride)

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """``[B, in_channels, *spatial]`` -> logits ``[B, num_classes, *spatial]``.

        In training with deep supervision a list of them, the finest first, one per level of the decoder, for
        :class:`monai.losses.DeepSupervisionLoss`.

        Raises:
            ValueError: see :meth:`ResidualEncoder.forward`.
        """
        outputs = self.decoder(self.encoder(image))
        return outputs if self.training and len(outputs) > 1 else outputs[0]
