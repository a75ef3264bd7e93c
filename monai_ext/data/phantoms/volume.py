"""Grids in patient space, resampling between them, and NIfTI files that are byte for byte equal on every run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["Array", "Grid", "rotation", "sample", "write_nifti"]

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Grid:
    """A voxel grid: ``shape`` (i, j, k) and the RAS ``affine`` in mm."""

    shape: tuple[int, int, int]
    affine: Array

    @classmethod
    def centered(
        cls, shape: tuple[int, int, int], spacing: tuple[float, float, float], turn: Array, center: Array
    ) -> Grid:
        """Grid whose middle lies at ``center`` (mm, RAS); ``turn`` is 3x3 and its columns the directions of i, j, k."""
        affine = np.eye(4)
        affine[:3, :3] = turn * np.asarray(spacing)
        affine[:3, 3] = center - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
        return cls(shape, affine)

    def window(self, box: tuple[slice, ...]) -> Grid:
        """The part of the grid on which ``array[box]`` lies, for an array on the grid."""
        i, j, k = (range(n)[part] for n, part in zip(self.shape, box))
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ np.array([i.start, j.start, k.start])
        return Grid((len(i), len(j), len(k)), affine)

    def offsets(self) -> tuple[Array, Array, Array]:
        """Distance of each voxel from the middle of the grid along i, j, k in mm, as three broadcastable arrays."""
        spacing = np.linalg.norm(self.affine[:3, :3], axis=0)
        axes = [np.float32((np.arange(n) - (n - 1) / 2) * s) for n, s in zip(self.shape, spacing)]
        i, j, k = np.meshgrid(*axes, indexing="ij", sparse=True)
        return i, j, k


def rotation(degrees: tuple[float, float, float]) -> Array:
    """Rotation matrix, about x, then y, then z."""
    a, b, c = np.deg2rad(degrees)
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return z @ y @ x


def sample(image: Array, source: Grid, target: Grid) -> Array:
    """Linear interpolation of ``image`` on ``source`` at the voxels of ``target``, blurred first to the coarser voxel.

    The blur stands for the partial volume of the larger voxel: a Gaussian whose width makes up the difference.
    """
    fine, coarse = (np.linalg.norm(g.affine[:3, :3], axis=0) for g in (source, target))
    sigma = 0.4 * np.sqrt(np.maximum(coarse**2 - fine**2, 0)) / fine
    to_source = np.linalg.inv(source.affine) @ target.affine
    blurred = ndimage.gaussian_filter(image, sigma, mode="nearest")
    return ndimage.affine_transform(
        blurred, to_source[:3, :3], to_source[:3, 3], output_shape=target.shape, order=1, mode="nearest"
    )


def write_nifti(path: Path, array: NDArray[np.generic], grid: Grid, dtype: type[np.generic]) -> None:
    """Write ``array`` as NIfTI with ``dtype``, rounded and clipped to its range where that is an integer."""
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(np.dtype(dtype).str)
        array = np.clip(np.rint(array), limits.min, limits.max)
    image = nib.Nifti1Image(array.astype(dtype), grid.affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(grid.affine, code=1)
    image.set_qform(grid.affine, code=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
