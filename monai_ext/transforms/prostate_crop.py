"""A box of fixed size in mm around the prostate."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from monai.data import MetaTensor
from torch import Tensor

from monai_ext.errors import DataError

__all__ = ["crop_affine"]


def crop_affine(
    gland: MetaTensor, spacing: Sequence[float], size: Sequence[int], case: object = None, file: object = None
) -> Tensor:
    """Affine of a box of ``size`` voxels of ``spacing`` mm, in the orientation of the scan, centred on the gland.

    The box begins on a voxel of the scan, so axes with the same spacing are not interpolated. A gland that is larger
    than the box gives a warning.

    Args:
        gland: ``[1, X, Y, Z]``, gland where not zero.
        spacing: mm per voxel along each axis.
        size: voxels along each axis.
        case: id, for messages.
        file: the mask, for messages.

    Returns:
        ``[4, 4]`` float64, voxel to mm.

    Raises:
        DataError: the gland is empty.
    """
    inside = (gland.as_tensor()[0] != 0).nonzero()
    if not len(inside):
        raise DataError("the gland mask is empty", "Check the mask, or the T2W image.", case, file)
    affine = gland.affine.double().cpu()
    ratio = torch.tensor(spacing, dtype=torch.float64) / torch.linalg.norm(affine[:3, :3], dim=0)
    first, last = inside.min(0).values.double().cpu(), inside.max(0).values.double().cpu()
    extent, sizes = (last - first + 1) / ratio, torch.tensor(size)
    if (extent > sizes).any():
        need = " x ".join(str(int(n)) for n in extent.ceil().tolist())
        box = " x ".join(map(str, size))
        warnings.warn(f"case {case}: the gland fills {need} voxels, the box has {box}: it is cut off", stacklevel=2)
    start = torch.round((first + last) / 2 - ratio * (sizes - 1) / 2)
    step = torch.eye(4, dtype=torch.float64)
    step[:3, :3] = torch.diag(ratio)
    step[:3, 3] = start
    return affine @ step
