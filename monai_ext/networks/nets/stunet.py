"""STU-Net: a family of residual 3-D U-Nets whose encoder is shared with their masked pretraining."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from monai.utils import ensure_tuple_rep
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from monai_ext.networks.blocks.instance_norm import InstanceNorm
from monai_ext.networks.blocks.scriptable import Scriptable
from monai_ext.networks.blocks.visible_patches import SubmanifoldConv3d, VisiblePatches
from monai_ext.networks.precision import recompute_alike

__all__ = ["STUNET_SIZES", "STUNet", "STUNetBlock", "STUNetEncoder"]

#: Width of the first stage and residual blocks per stage (Huang et al. 2023, Table 1).
STUNET_SIZES = {"S": (16, 1), "B": (32, 1), "L": (64, 2), "H": (96, 3)}


class STUNetBlock(nn.Module):
    """Residual block: conv - norm - LeakyReLU - conv - norm, plus the input, LeakyReLU.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: stride of the first convolution along each axis.
        project: carry the input over with a strided 1x1x1 convolution instead of unchanged; needed when the stride or
            the channels change, and used in the first block of every stage.
        pooled: see :class:`InstanceNorm`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: Sequence[int] = (1, 1, 1),
        project: bool = False,
        pooled: bool = False,
    ) -> None:
        super().__init__()
        stride = ensure_tuple_rep(stride, 3)
        self.conv1 = SubmanifoldConv3d(in_channels, out_channels, stride)
        self.norm1 = InstanceNorm(out_channels, pooled=pooled, inplace=True)
        self.conv2 = SubmanifoldConv3d(out_channels, out_channels)
        self.norm2 = InstanceNorm(out_channels, pooled=pooled, inplace=True)
        self.skip = nn.Conv3d(in_channels, out_channels, 1, stride) if project else None

    def forward(self, x: Tensor, visible: VisiblePatches | None = None) -> Tensor:
        """``[B, in, D, H, W]`` -> ``[B, out, D', H', W']``; with ``visible`` both are stacked."""
        y = F.leaky_relu_(self.norm1(self.conv1(x, visible)), 0.01)
        y = self.norm2(self.conv2(y, visible))
        return F.leaky_relu_(y.add_(x if self.skip is None else self.keep_layout(self.skip(x))), 0.01)

    def keep_layout(self, y: Tensor) -> Tensor:
        """Channels last where the weights are. For one small fp32 sample torch takes a convolution that forgets it."""
        last = torch.channels_last_3d
        return y.contiguous(memory_format=last) if self.conv2.weight.is_contiguous(memory_format=last) else y


class Stage(nn.Sequential):
    """The residual blocks of one scale, optionally recomputed in the backward pass instead of kept in memory."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        depth: int,
        stride: Sequence[int] = (1, 1, 1),
        pooled: bool = False,
        checkpointing: bool = False,
    ) -> None:
        first = STUNetBlock(in_channels, out_channels, stride, project=True, pooled=pooled)
        super().__init__(first, *(STUNetBlock(out_channels, out_channels, pooled=pooled) for _ in range(depth - 1)))
        self.checkpointing = checkpointing

    def forward(self, x: Tensor, visible: VisiblePatches | None = None) -> Tensor:
        """See :class:`STUNetBlock`."""
        for block in self:
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, visible, use_reentrant=False, context_fn=recompute_alike)
            else:
                x = block(x, visible)
        return x


class STUNetEncoder(nn.Module):
    """Encoder that the segmentation network shares with its pretraining network.

    Args:
        in_channels: channels of the image.
        size: "S", "B", "L" or "H"; or two numbers, such as (8, 1): the width of the first stage and the residual blocks
            per stage.
        strides: downsampling along each axis between one stage and the next; there is one stage more than strides.
        pooled: see :class:`InstanceNorm`.
        checkpointing: True recomputes each block in the backward pass instead of keeping its activations.

    Raises:
        ValueError: for an unknown size.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import STUNetEncoder
        >>> encoder = STUNetEncoder(size=(4, 1), strides=((2, 2, 2), (1, 2, 2)))
        >>> encoder.total_stride
        (2, 4, 4)
        >>> [tuple(features.shape) for features in encoder(torch.rand(1, 1, 8, 16, 16))]
        [(1, 4, 8, 16, 16), (1, 8, 4, 8, 8), (1, 16, 4, 4, 4)]
    """

    def __init__(
        self,
        in_channels: int = 1,
        size: str | Sequence[int] = "B",
        strides: Sequence[Sequence[int]] = ((2, 2, 2),) * 4 + ((1, 1, 1),),
        pooled: bool = False,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if isinstance(size, str) and size not in STUNET_SIZES:
            raise ValueError(f"size {size!r} is none of {', '.join(STUNET_SIZES)}")
        base, self.depth = STUNET_SIZES[size] if isinstance(size, str) else size
        self.strides = tuple(tuple(s) for s in strides)
        #: Channels of each stage: they double up to sixteen times the first.
        self.widths = tuple(base * min(2**i, 16) for i in range(len(self.strides) + 1))
        self.stages = nn.ModuleList(
            Stage(cin, cout, self.depth, stride, pooled, checkpointing)
            for cin, cout, stride in zip((in_channels, *self.widths), self.widths, ((1, 1, 1), *self.strides))
        )

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Voxels of the image along each axis per voxel of the last stage."""
        return tuple(math.prod(axis) for axis in zip(*self.strides))

    def forward(self, x: Tensor, visible: VisiblePatches | None = None) -> list[Tensor]:
        """Features of every scale.

        Args:
            x: image ``[B, in_channels, D, H, W]``, each axis a multiple of the total stride.
            visible: the visible patches, of as many voxels as the total stride; None = everything is visible.

        Returns:
            One tensor per stage, the finest first; with ``visible`` they are stacked.

        Raises:
            ValueError: when the image does not divide by the total stride.
        """
        if not torch.jit.is_tracing() and any(s % t for s, t in zip(x.shape[2:], self.total_stride)):
            raise ValueError(f"image size {tuple(x.shape[2:])} is not a multiple of {self.total_stride}")
        if isinstance(x, MetaTensor) and (visible is not None or torch.is_grad_enabled()):
            x = x.as_tensor()  # metadata breaks the norm's own gradient and slows every operation
        if visible is not None:
            x = visible.stack(x)
        features = []
        for stage in self.stages:
            x = stage(x, visible)
            features.append(x)
        return features


class Upsample(nn.Module):
    """Nearest-neighbour upsampling and a 1x1x1 convolution. The two commute; convolving first is cheaper."""

    def __init__(self, in_channels: int, out_channels: int, scale: Sequence[int]) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels, 1)
        self.scale = tuple(float(s) for s in scale)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, in, d, h, w]`` -> ``[B, out, d * scale, ...]``."""
        x = self.conv(x)
        return x if self.scale == (1.0, 1.0, 1.0) else F.interpolate(x, scale_factor=self.scale, mode="nearest")


class STUNet(Scriptable):
    """STU-Net (Huang et al., *STU-Net: Scalable and Transferable Medical Image Segmentation Models*, 2023).

    Four sizes: 14.60 M (S), 58.26 M (B), 440.30 M (L) and 1457.33 M (H) parameters with 105 classes. Weights of the
    published checkpoints load through :func:`monai_ext.networks.stunet_checkpoint.convert_official_stunet`.

    Args:
        in_channels: channels of the image.
        num_classes: channels of the output, the background included.
        size: see :class:`STUNetEncoder`.
        strides: downsampling along each axis between the stages; the default suits 112x112x128 (AnatoMask).
        deep_supervision: True predicts at every scale of the decoder in training.
        checkpointing: True recomputes each block in the backward pass; meant for the sizes L and H on one GPU.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import STUNet
        >>> network = STUNet(num_classes=3, size=(4, 1), strides=((2, 2, 2), (2, 2, 2)))
        >>> image = torch.rand(1, 1, 16, 16, 16)
        >>> network.eval()(image).shape
        torch.Size([1, 3, 16, 16, 16])
        >>> [tuple(logits.shape) for logits in network.train()(image)]
        [(1, 3, 16, 16, 16), (1, 3, 8, 8, 8)]
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 105,
        size: str | Sequence[int] = "B",
        strides: Sequence[Sequence[int]] = ((2, 2, 2),) * 4 + ((1, 1, 1),),
        deep_supervision: bool = True,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = STUNetEncoder(in_channels, size, strides, checkpointing=checkpointing)
        deep, shallow = self.encoder.widths[:0:-1], self.encoder.widths[-2::-1]
        scales = self.encoder.strides[::-1]
        self.upsamples = nn.ModuleList(Upsample(cin, cout, scale) for cin, cout, scale in zip(deep, shallow, scales))
        self.stages = nn.ModuleList(
            Stage(2 * width, width, self.encoder.depth, checkpointing=checkpointing) for width in shallow
        )
        #: One head per decoder stage, the finest last; only that one without deep supervision.
        self.heads = nn.ModuleList(
            nn.Conv3d(width, num_classes, 1) for width in (shallow if deep_supervision else shallow[-1:])
        )
        self.apply(initialize)

    @property
    def example_size(self) -> tuple[int, ...]:
        """A small image."""
        return tuple(2 * stride for stride in self.encoder.total_stride)

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Segment.

        Args:
            image: ``[B, in_channels, D, H, W]``, each axis a multiple of the encoder's total stride.

        Returns:
            Logits ``[B, num_classes, D, H, W]``; in training with deep supervision a list of them, the finest first,
            one per decoder stage (the form that ``monai.losses.DeepSupervisionLoss`` takes).

        Raises:
            ValueError: when the image does not divide by the total stride.
        """
        *skips, x = self.encoder(image)
        outputs: list[Tensor] = []
        first_head = len(self.stages) - len(self.heads)
        for i, (upsample, stage) in enumerate(zip(self.upsamples, self.stages)):
            x = stage(torch.cat([upsample(x), skips[-1 - i]], 1))
            if i == len(self.stages) - 1 or (self.training and i >= first_head):
                outputs.insert(0, self.heads[i - first_head](x))
        return outputs if self.training and len(self.heads) > 1 else outputs[0]


def initialize(module: nn.Module) -> None:
    """He initialization of the convolutions for LeakyReLU, as nnU-Net does it."""
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
