"""Instance normalization that keeps the memory layout of its input and saves few tensors."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ["InstanceNorm", "instance_norm"]


class _InstanceNorm(torch.autograd.Function):
    """Normalize, keeping one tensor of the input's size for the backward pass.

    It is written by hand because autograd through the same formula keeps several such tensors, and because, unlike
    ``F.instance_norm``, it leaves a channels-last tensor channels-last. The variance is that of centered values, so a
    mean far from zero costs no precision.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, dims: tuple[int, ...], inplace: bool
    ) -> Tensor:
        centered = x.detach() if inplace else x.clone()
        total = _sum(centered, dims)
        count = x.numel() / total.numel()
        centered.sub_((total / count).to(x.dtype))
        out = centered * centered
        inv_std = (_sum(out, dims) / count + eps).rsqrt()
        torch.mul(centered, (weight[:, None, None, None] * inv_std).to(x.dtype), out=out)
        out.add_(bias[:, None, None, None].to(x.dtype))
        ctx.dims = dims
        ctx.save_for_backward(centered, weight, inv_std)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """With n voxels and xhat = (x - mean) * inv_std: dx = weight * inv_std * (g - sum(g) / n - xhat *
        sum(g * xhat) / n)."""
        centered, weight, inv_std = ctx.saved_tensors
        if centered.is_contiguous(memory_format=torch.channels_last_3d):
            grad = grad.contiguous(memory_format=torch.channels_last_3d)
        count = centered.numel() / inv_std.numel()
        sum_g = _sum(grad, ctx.dims)
        grad_x = grad * centered
        sum_gx = _sum(grad_x, ctx.dims) * inv_std
        scale = weight[:, None, None, None] * inv_std
        slope = (-scale * inv_std * sum_gx / count).to(grad.dtype)
        offset = (-scale * sum_g / count).to(grad.dtype)
        torch.mul(grad, scale.to(grad.dtype), out=grad_x)
        grad_x.addcmul_(centered, slope).add_(offset)
        return grad_x, sum_gx.sum((0, 2, 3, 4)), sum_g.sum((0, 2, 3, 4)), None, None, None


def _sum(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Sum over ``dims``, kept, in fp32. The CPU kernel accumulates bf16 in fp32 too, but asked for an fp32 result it
    converts the whole tensor first (17 ms instead of 0.4 ms for 32 channels of 64^3)."""
    if x.device.type == "cpu":
        return x.sum(dims, keepdim=True).float()
    return x.sum(dims, keepdim=True, dtype=torch.float32)


def instance_norm(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5, pooled: bool = False, inplace: bool = False
) -> Tensor:
    """Normalize every channel of every sample by its mean and variance.

    Args:
        x: ``[B, C, D, H, W]``.
        weight: scale of each channel, ``[C]``.
        bias: offset of each channel, ``[C]``.
        eps: constant added to the (biased) variance.
        pooled: take the moments over the whole batch.
        inplace: overwrite ``x``, which nothing else may need: the output of a convolution. On a CPU, fresh memory costs
            more than the arithmetic of a norm.

    Returns:
        Tensor of the shape and dtype of ``x``.
    """
    return _InstanceNorm.apply(x, weight, bias, eps, (0, 2, 3, 4) if pooled else (2, 3, 4), inplace)


class InstanceNorm(nn.Module):
    """Instance normalization with affine parameters.

    On stacked visible patches (:class:`VisiblePatches`) it is the norm over visible voxels that a masked encoder needs.
    The published code of AnatoMask normalizes over all visible voxels of the batch at once, which is batch
    normalization without running statistics; ``pooled=True`` does the same. The default treats every sample alone, as
    the instance norm of the segmentation network does that receives the weights.

    Args:
        num_channels: number of channels C.
        eps: added to the variance.
        pooled: take the moments over the whole batch.
        inplace: the input may be overwritten; see :func:`instance_norm`.
    """

    def __init__(self, num_channels: int, eps: float = 1e-5, pooled: bool = False, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace
        self.eps = eps
        self.pooled = pooled
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize ``[B, C, D, H, W]``, see :func:`instance_norm`."""
        # Torch's own norm serves mostly. But on a CPU it turns channels-last tensors back, and it returns a view, for
        # which an activation that works in place pays three copies in training.
        ours = x.device.type == "cpu" and not torch.jit.is_tracing()
        if self.pooled or (ours and (torch.is_grad_enabled() or not x.is_contiguous())):
            return instance_norm(x, self.weight, self.bias, self.eps, self.pooled, self.inplace)
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)
