"""A box of fixed size in mm around the prostate."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from monai.data import MetaTensor
from torch import Tensor

from monai_ext.errors import DataError

__all__ = ["crop_affine", "warn_of_frame"]

FRAME = 0.5  # share of a scan that a gland never fills; a tenth is much


def warn_of_frame(inside: Tensor, case: object = None, file: object = None) -> None:
    """Warn of a gland that fills the scan: a mask of the frame or of the body, or a network that found nothing.

    Args:
        inside: ``[X, Y, Z]``, gland where true.
        case: id, for the message.
        file: the mask; None for one that a network found.
    """
    if (share := float(inside.float().mean())) > FRAME:
        what = f"{file}: the gland mask" if file else "the gland that the network found"
        warnings.warn(f"case {case}: {what} fills {share:.0%} of the scan; is it of the gland?", stacklevel=3)


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
    warn_of_frame(gland.as_tensor()[0] != 0, case, file)
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
