"""Label maps of many classes back onto the grid of the scan."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch import Tensor

from monai_ext.transforms.grid import remembered_grid, restored

__all__ = ["RestoreLabelsd", "resample_labels"]


def resample_labels(labels: Tensor, affine: Tensor, new_affine: Tensor, new_shape: tuple[int, ...]) -> Tensor:
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
    to_old = torch.linalg.solve(affine.double().cpu(), new_affine.double().cpu())
    everywhere = tuple(slice(0, size) for size in new_shape)
    background = 1 - _share(labels > 0, to_old, everywhere)
    best, result = background, torch.zeros(new_shape, dtype=labels.dtype, device=labels.device)
    for value in torch.unique(labels).tolist():
        box = _box(labels == value, to_old, new_shape) if value else None
        if box is not None:
            share = _share(labels == value, to_old, box)
            better = share > best[box]
            best[box] = torch.where(better, share, best[box])
            result[box] = result[box].masked_fill(better, value)
    return result


def _box(mask: Tensor, to_old: Tensor, new_shape: tuple[int, ...]) -> tuple[slice, ...] | None:
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


def _share(mask: Tensor, to_old: Tensor, box: tuple[slice, ...]) -> Tensor:
    """A mask ``[X, Y, Z]``, linearly interpolated at the voxels of a box of the new grid; 0 outside of the old one."""
    values = mask.float()[None, None]
    size = torch.tensor(mask.shape, device=mask.device)
    axes = [torch.arange(part.start, part.stop, device=mask.device, dtype=torch.float32) for part in box]
    matrix = to_old.float().to(mask.device)
    columns = [axis[:, None] * matrix[:3, i] for i, axis in enumerate(axes)]
    planes = []
    for first in columns[0].split(16):  # the coordinates take three times the memory of the result
        voxel = first[:, None, None] + columns[1][:, None] + columns[2] + matrix[:3, 3]
        inside = ((voxel > -0.501) & (voxel < size - 0.499)).all(-1)
        grid = (2 * voxel / (size - 1).clamp_min(1) - 1).flip(-1)[None]
        share = F.grid_sample(values, grid, padding_mode="border", align_corners=True)[0, 0]
        planes.append(share * inside)
    return torch.cat(planes)


class RestoreLabelsd(MapTransform):
    """Put a label map back onto the grid that :class:`RememberGridd` kept, see :func:`resample_labels`.

    For decollated items. (Class probabilities of few classes can go back with :class:`RestoreToReferenced`.)

    Args:
        keys: label maps ``[1, X, Y, Z]`` on the grid of ``grid``.
        grid: key of the network's input; its affine places the label map.
        allow_missing_keys: skip keys an item does not have.

    Raises:
        ValueError: a label map's shape is not that of ``grid``, or the item has no remembered grid.
    """

    def __init__(self, keys: KeysCollection = "pred", grid: str = "image", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.grid = grid

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Restore ``self.keys`` of one item."""
        item = dict(data)
        affine, shape = remembered_grid(item)
        grid = item[self.grid]
        for key in self.key_iterator(item):
            labels = item[key]
            if labels.shape != (1, *grid.shape[1:]):
                raise ValueError(f"{key} has shape {tuple(labels.shape)}, {self.grid} {tuple(grid.shape)}")
            values = resample_labels(labels.as_subclass(Tensor)[0], grid.affine, affine, shape)
            item[key] = restored(values[None], item, grid)
        return item
