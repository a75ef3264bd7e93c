"""A scan's own grid, as a reader sees it: anatomical axes, and slices by the number that a viewer shows."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import nibabel
import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray
from torch import Tensor

from monai_ext.transforms.grid import GRID_AFFINE, remembered_grid
from monai_ext.transforms.resample import interpolate_onto, resample_labels

__all__ = ["ScanView", "chosen_slices", "on_scan"]

Array = NDArray[Any]


@dataclass(frozen=True)
class ScanView:
    """The grid of a scan's file, and how to see it along right, anterior and head (RAS).

    A slice's number counts the slices of the file from 1, in the file's order, as ITK-SNAP does; viewers that count
    from 0 show one less. The other direction than that of the file gives the same number to the same slice.

    Attributes:
        affine: ``[4, 4]``, voxel to mm.
        shape: voxels along the file's axes.

    Example:
        >>> import numpy as np
        >>> from monai_ext.handlers.scan_view import ScanView
        >>> view = ScanView(np.diag([1.0, 1.0, -3.0, 1.0]), (4, 4, 20))  # the file begins at the head
        >>> view.number(2, 0), view.spacing
        ('slice 20 of 20', (1.0, 1.0, 3.0))
    """

    affine: Array
    shape: tuple[int, ...]

    @classmethod
    def of(cls, item: Mapping[Hashable, Any]) -> ScanView:
        """Of an item with a remembered grid; else of its image's own grid ``[C, X, Y, Z]``."""
        if GRID_AFFINE in item:
            affine, shape = remembered_grid(item)
            return cls(affine.numpy(), shape)
        return cls(affine_of(item["image"]).numpy(), tuple(item["image"].shape[1:]))

    @property
    def orientation(self) -> Array:
        """``[3, 2]``: the anatomical axis of each axis of the file, and its direction."""
        return nibabel.orientations.io_orientation(self.affine)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Mm of a voxel along right, anterior and head."""
        own = np.linalg.norm(self.affine[:3, :3], axis=0)
        x, y, z = (float(own[self.file_axis(axis)]) for axis in range(3))
        return x, y, z

    def ras(self, values: Array) -> Array:
        """A volume in the file's order, seen along right, anterior and head."""
        return nibabel.orientations.apply_orientation(values, self.orientation)

    def own(self, values: Array) -> Array:
        """A volume as :meth:`ras` gives it, in the file's order again."""
        back = nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt("RAS"), self.orientation)
        return nibabel.orientations.apply_orientation(values, back)

    def number(self, axis: int, index: int) -> str:
        """The number of a slice, for people.

        Args:
            axis: 0, 1 and 2 for sagittal, coronal and axial slices.
            index: of the slice along that axis of :meth:`ras`.
        """
        own = self.file_axis(axis)
        count = self.shape[own]
        return f"slice {index + 1 if self.orientation[own, 1] > 0 else count - index} of {count}"

    def file_axis(self, axis: int) -> int:
        """The file's axis that runs along an anatomical one."""
        return int(np.flatnonzero(self.orientation[:, 0] == axis)[0])


def affine_of(image: Tensor) -> Tensor:
    """Voxel to mm, float64 ``[4, 4]`` on the CPU; voxels where nothing is known."""
    known = isinstance(image, MetaTensor)
    return image.affine.cpu().double() if known else torch.eye(4, dtype=torch.float64)  # type: ignore[attr-defined]


def on_scan(values: Tensor, image: Tensor, view: ScanView, labels: bool = False) -> Array:
    """Bring a volume onto a scan's grid, if it is not there yet.

    Args:
        values: ``[X, Y, Z]``, on the grid of the scan or on that of the network's input.
        image: the network's input ``[C, X, Y, Z]``.
        view: the scan.
        labels: the values are classes.

    Returns:
        The volume in RAS; 0 outside of what was seen.
    """
    there, grid = torch.from_numpy(view.affine), affine_of(image)
    own = affine_of(values) if isinstance(values, MetaTensor) else None
    plain = torch.as_tensor(values).detach().as_subclass(Tensor).cpu()
    inside = plain.shape == image.shape[1:]  # a prediction may have lost the grid on its way
    at_home = tuple(plain.shape) == view.shape and (own is None or torch.allclose(own, there, atol=1e-3))
    if not at_home or (inside and own is None and not torch.allclose(grid, there, atol=1e-3)):
        source = grid if inside else own
        if source is None:
            raise ValueError(f"a volume {tuple(plain.shape)} is neither on the scan's grid nor on the network's")
        plain = (resample_labels if labels else interpolate_onto)(plain, source, there, view.shape)
    return view.ras(plain.numpy())


def chosen_slices(scores: list[Array], count: int) -> list[int]:
    """Slices that differ: the best one of each score in turn, away from those that are shown already.

    Args:
        scores: ``[Z]`` each, most important first; slices of value 0 are not worth showing.
        count: number of slices.

    Returns:
        Indices in order, ``count`` of them or all that there are.

    Example:
        >>> import numpy as np
        >>> from monai_ext.handlers.scan_view import chosen_slices
        >>> area = np.array([0, 1, 3, 6, 9, 8, 7, 6, 2, 1, 0])  # a lesion on nine slices
        >>> chosen_slices([area], 3)
        [2, 4, 6]
    """
    number = len(scores[0])
    shown = np.flatnonzero(np.any([score > 0 for score in scores], axis=0))
    span = int(np.ptp(shown)) + 1 if len(shown) else number
    chosen: list[int] = []
    for gap in range(max(span // (count + 1), 1), 0, -1):
        for score in scores * count:
            apart = np.array([all(abs(z - other) >= gap for other in chosen) for z in range(number)])
            worth = np.where(apart, score, 0)
            if len(chosen) < count and worth.max() > 0:
                chosen.append(int(worth.argmax()))
    while len(chosen) < min(count, number):  # nothing more to see: beside it, or all over the scan
        left = [z for z in range(number) if z not in chosen]
        middle = chosen[0] if chosen else number // 2
        away = {z: min((abs(z - other) for other in chosen), default=-abs(z - middle)) for z in left}
        chosen.append(min(left, key=lambda z: abs(z - middle)) if len(shown) else max(left, key=away.__getitem__))
    return sorted(chosen)
