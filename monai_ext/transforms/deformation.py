"""Smooth random deformations of an image together with its label."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from torch import Tensor

__all__ = ["RandDeformd", "count_control_points", "displacement_field", "sampling_grid", "spline_basis"]


class RandDeformd(RandomizableTransform, MapTransform):
    """Deform an item elastically: displacements of a coarse grid of control points, joined by cubic B-splines.

    The form is that of TorchIO's ``RandomElasticDeformation`` (Perez-Garcia et al. 2021) and of free-form deformation
    (Rueckert et al. 1999). A displacement of each control point is drawn along each axis from a normal distribution
    whose standard deviation is the item's *amplitude*, itself drawn evenly from a range; so the amplitude is in voxels
    and says how far something moves, whatever the size of the item. The splines smooth: with independent control
    points a voxel moves by 0.33 (3-D) or 0.48 (2-D) of the amplitude, root mean square along an axis.

    An item that is not drawn is handed on as it is, not resampled.

    Args:
        keys: tensors ``[C, *spatial]`` of equal spatial size, two or three axes.
        prob: share of the items that are deformed.
        amplitude: smallest and largest standard deviation of a control point, in voxels along each axis.
        control_points: voxels between two of them, about; at least four points lie along an axis.
        mode: ``"bilinear"`` or ``"nearest"`` for each key.
        padding_mode: of ``grid_sample`` for each key: ``"zeros"`` or ``"border"``.
        allow_missing_keys: skip keys an item does not have.

    Raises:
        ValueError: when the amplitudes are no range from 0, or the distance of control points is not positive.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.2,
        amplitude: tuple[float, float] = (2.0, 8.0),
        control_points: float = 16.0,
        mode: Sequence[str] | str = "bilinear",
        padding_mode: Sequence[str] | str = "border",
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        if not 0 <= amplitude[0] <= amplitude[1]:
            raise ValueError(f"amplitude must be a range from 0 on, got {amplitude}")
        if control_points <= 0:
            raise ValueError(f"control_points must be a positive distance, got {control_points}")
        self.amplitude, self.control_points = (float(amplitude[0]), float(amplitude[1])), float(control_points)
        self.mode = (mode,) * len(self.keys) if isinstance(mode, str) else tuple(mode)
        self.padding_mode = (padding_mode,) * len(self.keys) if isinstance(padding_mode, str) else tuple(padding_mode)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Deform the keys of one item alike."""
        item = dict(data)
        self.randomize(None)
        first = next(iter(self.key_iterator(item)), None)
        if not self._do_transform or first is None:
            return item
        shape = tuple(item[first].shape[1:])
        counts = [count_control_points(size, self.control_points) for size in shape]
        sigma = self.R.uniform(*self.amplitude)
        control = torch.from_numpy(self.R.normal(0, sigma, (len(shape), *counts)).astype(np.float32))
        grid = sampling_grid(displacement_field(control, shape))
        for key, mode, padding in self.key_iterator(item, self.mode, self.padding_mode):
            values = torch.as_tensor(item[key])
            moved = F.grid_sample(values[None].float(), grid, mode, padding, align_corners=True)[0]
            item[key] = moved.to(values.dtype)
        return item


def count_control_points(size: int, distance: float = 16.0) -> int:
    """Control points along an axis of ``size`` voxels, about ``distance`` voxels apart, two of them outside."""
    return max(4, round(size / distance) + 3)


def displacement_field(control: Tensor, shape: Sequence[int]) -> Tensor:
    """Displacements of all voxels from those of the control points.

    Args:
        control: ``[D, *counts]``, along each of D axes, of the control points; four at least along an axis.
        shape: voxels along each axis.

    Returns:
        ``[D, *shape]``.
    """
    field = control
    for axis, (size, count) in enumerate(zip(shape, control.shape[1:]), start=1):
        basis = spline_basis(size, count, control.device)
        field = torch.movedim(torch.tensordot(basis, field, ([1], [axis])), 0, axis)
    return field


def spline_basis(size: int, count: int, device: torch.device | None = None) -> Tensor:
    """Uniform cubic B-splines of ``count`` control points at ``size`` voxels: ``[size, count]``, rows sum to 1."""
    # The first and the last point lie outside.
    place = torch.arange(size, device=device) * ((count - 3) / max(1, size - 1)) + 1
    distance = (place[:, None] - torch.arange(count, device=device)).abs()
    near = 2 / 3 - distance**2 + distance**3 / 2
    return torch.where(distance < 1, near, (2 - distance).clamp_min(0) ** 3 / 6)


def sampling_grid(field: Tensor) -> Tensor:
    """Sampling places for ``grid_sample``, ``[1, *shape, D]``, of displacements ``[D, *shape]`` in voxels."""
    shape = field.shape[1:]
    axes = torch.meshgrid(*(torch.arange(n, dtype=field.dtype, device=field.device) for n in shape), indexing="ij")
    places = [(axis + move) * (2 / max(1, n - 1)) - 1 for axis, move, n in zip(axes, field, shape)]
    return torch.stack(places[::-1], dim=-1)[None]
