"""From one voxel grid to another: whole images by MONAI, one volume or a label map slab by slab, for large grids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from monai.transforms import SpatialResample
from monai.utils import convert_to_tensor
from torch import Tensor

__all__ = ["coverage", "interpolate_onto", "onto_grid", "placed", "resample_labels"]


def coverage(affine: Tensor, shape: Sequence[int], reference_affine: Tensor, reference_shape: Sequence[int]) -> float:
    """Share of the reference's volume that lies inside another grid, by 16 sample points along each axis.

    Args:
        affine: ``[4, 4]`` voxel to mm of the grid in question.
        shape: its voxels along each axis.
        reference_affine: ``[4, 4]`` of the reference.
        reference_shape: its voxels along each axis.
    """
    axes = [(torch.arange(16).double() + 0.5) / 16 * size - 0.5 for size in reference_shape]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    to_voxel = torch.linalg.solve(affine.double(), reference_affine.double())
    voxels = points @ to_voxel[:3, :3].T + to_voxel[:3, 3]
    return ((voxels >= -0.5) & (voxels <= torch.tensor(shape) - 0.5)).all(1).double().mean().item()


def placed(values: Tensor, affine: Tensor, meta: Mapping[str, Any]) -> MetaTensor:
    """Values with exactly this affine; what resampling returns is a product of affines, equal to rounding only."""
    return MetaTensor(convert_to_tensor(values, track_meta=False), affine=affine.clone(), meta=dict(meta))


def onto_grid(
    image: MetaTensor, affine: Tensor, shape: Sequence[int], mode: str = "bilinear", fill: float = 0.0
) -> MetaTensor:
    """Resample ``[C, X, Y, Z]`` onto another grid, with coordinates in double precision.

    Args:
        image: on its own grid.
        affine: ``[4, 4]`` of the other grid, voxel to mm.
        shape: its voxels along each axis.
        mode: ``"bilinear"`` or ``"nearest"``.
        fill: value outside of the image.

    Returns:
        ``[C, *shape]`` of the image's dtype, with its metadata.
    """
    resample = SpatialResample(padding_mode="zeros", align_corners=False, dtype=np.float64)
    source = MetaTensor(image.as_tensor() - fill, affine=image.affine.double().cpu())
    values = resample(source, dst_affine=affine, spatial_size=tuple(shape), mode=mode)
    return placed((values + fill).to(image.dtype), affine, image.meta)


def interpolate_onto(values: Tensor, affine: Tensor, new_affine: Tensor, new_shape: Sequence[int]) -> Tensor:
    """Linear interpolation onto another grid, 0 outside, without the coordinates of all its voxels at once.

    Args:
        values: ``[X, Y, Z]``.
        affine: ``[4, 4]`` voxel to mm of ``values``.
        new_affine: ``[4, 4]`` of the new grid.
        new_shape: its voxels along each axis.

    Returns:
        float32 ``[*new_shape]``.
    """
    return _interpolated(values, _step(affine, new_affine), tuple(slice(0, size) for size in new_shape), "zeros")


def resample_labels(labels: Tensor, affine: Tensor, new_affine: Tensor, new_shape: Sequence[int]) -> Tensor:
    """Bring a label map onto another grid as its classes' indicators would be, linearly interpolated and compared.

    Borders come out smooth, which nearest neighbour would turn into steps. The probabilities of 105 classes on a grid
    of 512x512x600 would take 66 GB; this handles one class at a time, each within its own box, and keeps the largest
    value so far: two volumes of the new grid.

    Args:
        labels: integer ``[X, Y, Z]``.
        affine: ``[4, 4]`` voxel to mm of ``labels``.
        new_affine: of the new grid.
        new_shape: voxels of the new grid along each axis.

    Returns:
        Tensor ``[*new_shape]`` of the dtype of ``labels``; 0 outside of the old grid. Ties go to the smaller class.
    """
    to_old = _step(affine, new_affine)
    background = 1 - _interpolated(labels > 0, to_old, tuple(slice(0, size) for size in new_shape), "border")
    best, result = background, torch.zeros(tuple(new_shape), dtype=labels.dtype, device=labels.device)
    for value in torch.unique(labels).tolist():
        box = _box(labels == value, to_old, new_shape) if value else None
        if box is not None:
            share = _interpolated(labels == value, to_old, box, "border")
            better = share > best[box]
            best[box] = torch.where(better, share, best[box])
            result[box] = result[box].masked_fill(better, value)
    return result


def _step(affine: Tensor, new_affine: Tensor) -> Tensor:
    """``[4, 4]``: voxel of the new grid to voxel of the old one."""
    return torch.linalg.solve(affine.double().cpu(), new_affine.double().cpu())


def _box(mask: Tensor, to_old: Tensor, new_shape: Sequence[int]) -> tuple[slice, ...] | None:
    """The part of the new grid that a mask ``[X, Y, Z]`` reaches by interpolation; None if it is outside."""
    spans = []
    for axis in range(3):
        inside = mask.any(dim=tuple(i for i in range(3) if i != axis)).nonzero()
        spans.append((int(inside.min()) - 1, int(inside.max()) + 1))
    corners = torch.cartesian_prod(*(torch.tensor(span, dtype=torch.float64) for span in spans))
    to_new = torch.linalg.inv(to_old)
    places = corners @ to_new[:3, :3].T + to_new[:3, 3]
    low, high = places.amin(0).floor().long(), places.amax(0).ceil().long() + 1
    box = tuple(slice(max(int(a), 0), min(int(b), n)) for a, b, n in zip(low, high, new_shape))
    return box if all(part.start < part.stop for part in box) else None


def _interpolated(values: Tensor, to_old: Tensor, box: tuple[slice, ...], outside: str) -> Tensor:
    """Linear interpolation of ``[X, Y, Z]`` at the voxels of a box of the new grid, slab by slab.

    ``"zeros"`` fades to 0 within a voxel beyond the outermost centres; ``"border"`` keeps the outermost values up to
    half a voxel beyond, to which the old grid reaches, and is 0 further out.
    """
    source = values.float()[None, None]
    size = torch.tensor(values.shape, device=values.device)
    matrix = to_old.to(values.device)
    axes = (torch.arange(part.start, part.stop, device=values.device, dtype=matrix.dtype) for part in box)
    columns = [axis[:, None] * matrix[:3, i] for i, axis in enumerate(axes)]
    slabs = []
    for first in columns[0].split(16):  # the coordinates take six times the memory of the result
        voxel = first[:, None, None] + columns[1][:, None] + columns[2] + matrix[:3, 3]
        grid = ((2 * voxel + 1) / size - 1).flip(-1)[None].float()
        slab = F.grid_sample(source, grid, padding_mode=outside, align_corners=False)[0, 0]
        if outside == "border":
            slab = slab * ((voxel > -0.501) & (voxel < size - 0.499)).all(-1)
        slabs.append(slab)
    return torch.cat(slabs)
