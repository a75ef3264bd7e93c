"""The visible patches of masked volumes, and convolutions that compute only these patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv3d_weight

__all__ = ["SubmanifoldConv3d", "VisiblePatches"]


class VisiblePatches:
    """Positions of the visible patches of a batch, and their stacked form.

    The n visible patches of a sample, of ``p0 x p1 x p2`` voxels each, are stacked along the first axis into a small
    dense volume ``[B, C, n * p0, p1, p2]``. Norms, activations and 1x1x1 convolutions work on this stacked tensor
    without a mask; a larger convolution gets the neighbours from this object. One object serves every scale, because
    the size of a patch follows from the shape of the stacked tensor.

    Args:
        mask: bool ``[B, N]``, True = masked; N patches in row-major order.
        grid: patches along each of the three axes.
        per_sample: visible patches of a sample, where the caller knows them. None reads their number off the mask, for
            which the host waits on a GPU.

    Raises:
        ValueError: when the samples do not all have the same number of visible patches, or have none.
        RuntimeError: when they do not have ``per_sample``; checked on the device.
    """

    def __init__(self, mask: Tensor, grid: Sequence[int], per_sample: int | None = None) -> None:
        self.batch, self.grid = mask.shape[0], tuple(grid)
        shown = (~mask).sum(1)
        if per_sample:
            most = per_sample
            torch._assert_async((shown == most).all())
        else:
            fewest, most = torch.stack(shown.aminmax()).tolist()
            if fewest != most or most == 0:
                raise ValueError(f"samples must show equally many patches and at least one; they show {fewest}-{most}")
        self.per_sample, self.total = most, most * self.batch
        order = mask.byte().argsort(dim=1, stable=True)[:, :most]
        self.sample = torch.arange(self.batch, device=mask.device).repeat_interleave(most)
        self.cell = torch.unravel_index(order.flatten(), self.grid)
        # Index of the visible patch in every cell of the grid and around it; the number of patches in hidden cells.
        number = torch.full_like(mask, self.total, dtype=torch.long)
        number.scatter_(1, order, torch.arange(self.total, device=mask.device).view_as(order))
        self.number = F.pad(number.view(-1, *self.grid), (1, 1) * 3, value=self.total)
        self._voxels: dict[tuple[int, ...], Tensor] = {}
        self._windows: dict[tuple[int, ...], Tensor] = {}

    def patch_size(self, stacked: Tensor) -> tuple[int, int, int]:
        """Voxels of a patch along each axis at the scale of this tensor."""
        depth, height, width = stacked.shape[2:]
        return depth // self.per_sample, height, width

    def stack(self, volume: Tensor) -> Tensor:
        """``[B, C, D, H, W]`` -> ``[B, C, n * p0, p1, p2]``, channels last."""
        patch = tuple(s // g for s, g in zip(volume.shape[2:], self.grid))
        return self.join(_rows(volume).index_select(0, self._voxel_rows(patch)), patch)

    def unstack(self, stacked: Tensor, fill: Tensor) -> Tensor:
        """``[B, C, n * p0, p1, p2]`` -> ``[B, C, D, H, W]``, channels last, with ``fill`` ``[C]`` where hidden."""
        patch = self.patch_size(stacked)
        size = [p * g for p, g in zip(patch, self.grid)]
        volume = fill.to(stacked.dtype).expand(self.batch * torch.Size(size).numel(), -1)
        volume = volume.index_copy(0, self._voxel_rows(patch), _rows(stacked))
        return volume.view(self.batch, *size, -1).movedim(-1, 1)

    def split(self, stacked: Tensor) -> Tensor:
        """``[B, C, n * p0, p1, p2]`` -> single patches ``[B * n, C, p0, p1, p2]``."""
        return _rows(stacked).view(self.total, *self.patch_size(stacked), -1).movedim(-1, 1)

    def join(self, rows: Tensor, patch: Sequence[int]) -> Tensor:
        """Voxels ``[B * n * p0 * p1 * p2, C]`` -> ``[B, C, n * p0, p1, p2]``."""
        return rows.view(self.batch, self.per_sample * patch[0], *patch[1:], -1).movedim(-1, 1)

    def windows(self, stacked: Tensor) -> Tensor:
        """Every patch with one more voxel on each side: ``[B * n, C, p0 + 2, p1 + 2, p2 + 2]``, zero where hidden."""
        patch, rows = self.patch_size(stacked), _rows(stacked)
        rows = torch.cat((rows, rows.new_zeros(1, rows.shape[1])))
        windows = rows.index_select(0, self._window_rows(patch))
        return windows.view(self.total, *(p + 2 for p in patch), -1).movedim(-1, 1)

    def _voxel_rows(self, patch: tuple[int, ...]) -> Tensor:
        """For each stacked voxel its row among those of the volumes: ``[B * n * p0 * p1 * p2]``."""
        if patch not in self._voxels:
            row = self.sample[:, None, None, None]
            for axis, (cell, p, g) in enumerate(zip(self.cell, patch, self.grid)):
                position = cell[:, None] * p + torch.arange(p, device=cell.device)
                row = row * (p * g) + _along(position, axis)
            self._voxels[patch] = row.flatten()
        return self._voxels[patch]

    def _window_rows(self, patch: tuple[int, ...]) -> Tensor:
        """For each voxel of each window its row among the stacked ones; the row after the last where hidden."""
        if patch not in self._windows:
            neighbours, inside = [], torch.zeros((), dtype=torch.long, device=self.sample.device)
            for axis, (cell, p) in enumerate(zip(self.cell, patch)):
                position = torch.arange(-1, p + 1, device=cell.device)
                neighbours.append(_along(cell[:, None] + 1 + position.div(p, rounding_mode="floor"), axis))
                inside = inside * p + _along(position[None] % p, axis)
            number = self.number[(self.sample[:, None, None, None], *neighbours)]
            voxels = torch.Size(patch).numel()
            self._windows[patch] = (number * voxels + inside * (number < self.total)).flatten()
        return self._windows[patch]


class SubmanifoldConv3d(nn.Conv3d):
    """3x3x3 convolution that can stay on visible voxels (submanifold sparse convolution, Graham and van der Maaten).

    With a stacked tensor it reads hidden neighbours as zero and computes only the visible patches, which takes two
    fifths of the arithmetic and memory at a mask ratio of 0.6. Its gradient is a submanifold convolution too, because
    gradients of hidden voxels are dropped. Without patches it is ``nn.Conv3d``.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: stride along each axis, a divisor of the patch size of that axis.
    """

    bias: Tensor  # there always is one

    def __init__(self, in_channels: int, out_channels: int, stride: Sequence[int] = (1, 1, 1)) -> None:
        depth, height, width = stride
        super().__init__(in_channels, out_channels, 3, (depth, height, width), padding=1)

    def forward(self, x: Tensor, visible: VisiblePatches | None = None) -> Tensor:
        """``[B, in, D, H, W]`` -> ``[B, out, D', H', W']``; with ``visible`` both are stacked."""
        if visible is None:
            return super().forward(x)
        weight, bias, kind = self.weight, self.bias, x.device.type
        if torch.is_autocast_enabled(kind):
            dtype = torch.get_autocast_dtype(kind)
            x, weight, bias = x.to(dtype), weight.to(dtype), bias.to(dtype)
        return _SubmanifoldConv.apply(x, weight, bias, self.stride, visible)


class _SubmanifoldConv(torch.autograd.Function):
    """Convolve windows, which are gathered again for the backward pass: gathering is cheap and windows are large."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: tuple[int, ...], visible: VisiblePatches
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.visible = stride, visible
        patch = [p // s for p, s in zip(visible.patch_size(x), stride)]
        if patch == [1, 1, 1]:
            rows = F.linear(_single_window(visible.windows(x)), weight.movedim(1, -1).flatten(1), bias)
        else:
            rows = _rows(F.conv3d(visible.windows(x), weight, bias, stride))
        return visible.join(rows, patch)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        visible, stride = ctx.visible, ctx.stride
        grad_x = None
        if ctx.needs_input_grad[0]:
            # Windows begin one voxel early, at both scales: the transposed convolution is cropped to the patch.
            crop, extra = [s + 1 for s in stride], [s - 1 for s in stride]
            patches = F.conv_transpose3d(visible.windows(grad), weight, None, stride, crop, extra)
            grad_x = visible.join(_rows(patches), visible.patch_size(x))
        split, windows = visible.split(grad), visible.windows(x)
        if split.shape[2:] == (1, 1, 1):
            grad_weight = split.flatten(1).T @ _single_window(windows)
            grad_weight = grad_weight.view(-1, 3, 3, 3, x.shape[1]).movedim(-1, 1)
        else:
            grad_weight = conv3d_weight(windows, weight.shape, split, stride)
        return grad_x, grad_weight, _rows(grad).sum(0), None, None


def _rows(x: Tensor) -> Tensor:
    """``[B, C, D, H, W]`` -> ``[B * D * H * W, C]``, without a copy when channels are last."""
    return x.movedim(1, -1).reshape(-1, x.shape[1])


def _along(x: Tensor, axis: int) -> Tensor:
    """``[V, n]`` -> ``[V, n, 1, 1]`` with n at that one of the three axes."""
    return x[(slice(None), *(slice(None) if i == axis else None for i in range(3)))]


def _single_window(windows: Tensor) -> Tensor:
    """What an output of a single voxel reads, as rows ``[V, 27 * C]``: a matrix product does it in an eighth of the
    time that a convolution takes."""
    return windows[..., :3, :3, :3].movedim(1, -1).flatten(1)
