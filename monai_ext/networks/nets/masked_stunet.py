"""Masked pretraining of STU-Net's encoder: visible voxels in, hidden patches out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from monai.utils import ensure_tuple_rep
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from monai_ext.networks.blocks.instance_norm import InstanceNorm
from monai_ext.networks.blocks.patches import patch_grid
from monai_ext.networks.blocks.visible_patches import VisiblePatches
from monai_ext.networks.nets.stunet import STUNetEncoder, initialize

__all__ = ["MaskedSTUNet"]


class Densify(nn.Module):
    """Turn sparse features into dense ones: normalize the visible features, fill the hidden cells with a learned token.

    Args:
        channels: number of channels, before and after.
        pooled: see :class:`InstanceNorm`.
        project: follow with a 3x3x3 convolution, as every scale but the coarsest does.
    """

    def __init__(self, channels: int, pooled: bool, project: bool) -> None:
        super().__init__()
        self.norm = InstanceNorm(channels, eps=1e-6, pooled=pooled)  # SparK's; the encoder's have 1e-5
        self.token = nn.Parameter(torch.empty(channels))
        self.proj = nn.Conv3d(channels, channels, 3, padding=1) if project else None
        nn.init.trunc_normal_(self.token, std=0.02)

    def forward(self, x: Tensor, visible: VisiblePatches) -> Tensor:
        """Stacked visible patches ``[B, C, n * p0, p1, p2]`` -> ``[B, C, d, h, w]``."""
        x = visible.unstack(self.norm(x), self.token)
        return x if self.proj is None else self.proj(x)


class _ReLU6(torch.autograd.Function):
    """ReLU6 in place. Torch's own ReLU6 copies its input for the backward pass, which needs only the result.

    The gradient overwrites that result, because a step reaches its peak memory here, at the full resolution. A second
    backward pass over the same graph therefore raises torch's error.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x.clamp_(0, 6)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward.grad_input(grad, y, 0, 6, grad_input=y)


class DecoderBlock(nn.Module):
    """Transposed convolution (doubles a strided axis), conv - norm - ReLU6, conv - norm that halves the channels."""

    def __init__(self, in_channels: int, out_channels: int, stride: Sequence[int], pooled: bool) -> None:
        super().__init__()
        stride = ensure_tuple_rep(stride, 3)
        norm = nn.BatchNorm3d if pooled else partial(InstanceNorm, inplace=True)
        self.up = nn.ConvTranspose3d(in_channels, in_channels, tuple(s + 2 for s in stride), stride, padding=1)
        self.conv1 = nn.Conv3d(in_channels, in_channels, 3, padding=1, bias=False)
        self.norm1 = norm(in_channels)
        self.conv2 = nn.Conv3d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, in, d, h, w]`` -> ``[B, out, d * stride, ...]``."""
        x = _ReLU6.apply(self.norm1(self.conv1(self.up(x))))
        return self.norm2(self.conv2(x))


class HierarchicalDecoder(nn.Module):
    """SparK's light U-Net decoder: the densified features of every scale but the finest, added on the way up.

    The published code also densifies the finest scale at the full resolution and never uses the result; this is left
    out.
    """

    def __init__(
        self, out_channels: int, widths: Sequence[int], strides: Sequence[Sequence[int]], pooled: bool
    ) -> None:
        super().__init__()
        deep, shallow = widths[:0:-1], widths[-2::-1]
        self.densify = nn.ModuleList(Densify(width, pooled, project=i > 0) for i, width in enumerate(deep))
        self.blocks = nn.ModuleList(
            DecoderBlock(cin, cout, stride, pooled) for cin, cout, stride in zip(deep, shallow, strides[::-1])
        )
        self.proj = nn.Linear(widths[0], out_channels)

    def forward(self, features: Sequence[Tensor], visible: VisiblePatches) -> Tensor:
        """Stacked features, the finest first -> image ``[B, out_channels, D, H, W]``."""
        x: Any = None
        for densify, block, feature in zip(self.densify, self.blocks, features[:0:-1]):
            dense = densify(feature, visible)
            x = block(dense if x is None else dense.add_(x))
        return self.proj(x.movedim(1, -1)).movedim(-1, 1)


class SimpleDecoder(nn.Module):
    """Two convolution blocks on the coarsest features, then every cell predicts its patch (Table 1, "simple")."""

    def __init__(
        self, out_channels: int, widths: Sequence[int], strides: Sequence[Sequence[int]], pooled: bool
    ) -> None:
        super().__init__()
        width, norm = widths[-1], nn.BatchNorm3d if pooled else partial(InstanceNorm, inplace=True)
        self.densify = Densify(width, pooled, project=False)
        self.conv1 = nn.Conv3d(width, width, 3, padding=1, bias=False)
        self.norm1 = norm(width)
        self.conv2 = nn.Conv3d(width, width, 3, padding=1, bias=False)
        self.norm2 = norm(width)
        voxels = torch.tensor(strides).prod().item()
        self.proj = nn.Conv3d(width, int(voxels) * out_channels, 1)

    def forward(self, features: Sequence[Tensor], visible: VisiblePatches) -> Tensor:
        """Stacked features, the finest first -> patches ``[B, N, P * out_channels]``."""
        x = self.densify(features[-1], visible)
        x = _ReLU6.apply(self.norm1(self.conv1(x)))
        x = _ReLU6.apply(self.norm2(self.conv2(x)))
        return self.proj(x).flatten(2).mT


class MaskedSTUNet(nn.Module):
    """Reconstruct hidden patches from visible ones (AnatoMask, 3.2; SparK, Tian et al. 2023).

    The encoder works like a submanifold sparse one: it reads and computes only the visible patches, so hidden voxels do
    not enter any feature, and mask boundaries do not shift the moments of the norms. A patch is one cell of the
    coarsest scale.

    The encoder has the first stages of :class:`STUNet`'s under the same names.

    Args:
        in_channels: channels of the image.
        size: see :class:`STUNetEncoder`.
        strides: downsampling along each axis between the stages, 1 or 2; their product is the patch size.
        decoder: decoder of Table 1, "hierarchical" or "simple".
        pooled: True takes the moments of all norms over the batch, as the published code does. By default every sample
            is normalized by itself, here and in the decoder, so that a result does not depend on the batch.
        checkpointing: True recomputes each block of the encoder in the backward pass; meant for the sizes L and H.
        mask_ratio: share of the patches that every mask hides: all but ``round((1 - mask_ratio) N)``, as in
            :class:`~monai_ext.maskers.AnatoMasker`. None reads the number off each mask, for which the host waits on a
            GPU.

    Raises:
        ValueError: for an unknown size or decoder.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import MaskedSTUNet
        >>> network = MaskedSTUNet(size=(4, 1))
        >>> mask = torch.tensor([[True] * 5 + [False] * 3])
        >>> network(torch.rand(1, 1, 32, 32, 32), mask).shape
        torch.Size([1, 1, 32, 32, 32])
    """

    def __init__(
        self,
        in_channels: int = 1,
        size: str | Sequence[int] = "B",
        strides: Sequence[Sequence[int]] = ((2, 2, 2),) * 4,
        decoder: str = "hierarchical",
        pooled: bool = False,
        checkpointing: bool = False,
        mask_ratio: float | None = None,
    ) -> None:
        super().__init__()
        self.mask_ratio = mask_ratio
        decoders = {"hierarchical": HierarchicalDecoder, "simple": SimpleDecoder}
        if decoder not in decoders:
            raise ValueError(f"decoder {decoder!r} is none of {', '.join(decoders)}")
        self.encoder = STUNetEncoder(in_channels, size, strides, pooled, checkpointing)
        self.decoder = decoders[decoder](in_channels, self.encoder.widths, self.encoder.strides, pooled)
        self.patch_size = self.encoder.total_stride
        self.encoder.apply(initialize)
        self.decoder.apply(_initialize_decoder)
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # all layers keep it

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Reconstruct.

        Args:
            image: ``[B, in_channels, D, H, W]``, a whole number of patches along each axis.
            mask: bool ``[B, N]``, True = masked.

        Returns:
            An image of the same shape, or from the simple decoder its patches ``[B, N, P * in_channels]``. Values at
            visible patches are meaningless. The loss defines the target, by default normalized patches.

        Raises:
            ValueError: when the mask is not one of the image's patches, or does not hide equally many in every sample.
        """
        grid = patch_grid(image.shape[2:], self.patch_size)
        if mask.shape != (image.shape[0], torch.Size(grid).numel()):
            raise ValueError(f"mask {tuple(mask.shape)} for an image of {grid} patches and batch {image.shape[0]}")
        shown = None if self.mask_ratio is None else round((1 - self.mask_ratio) * mask.shape[1])
        visible = VisiblePatches(mask, grid, shown)
        return self.decoder(self._encode(image, visible), visible)

    @torch.compiler.disable  # its convolutions gather windows anew in the backward pass, which cannot be traced
    def _encode(self, image: Tensor, visible: VisiblePatches) -> Any:
        return self.encoder(image, visible)


def _initialize_decoder(module: nn.Module) -> None:
    """Truncated normal with standard deviation 0.02, as SparK does it; predictions start near zero."""
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
