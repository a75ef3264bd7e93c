"""The box of a scan that holds the patient: what lies around it is air, where nothing has to be looked for."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["body_box"]

CELL = 4  # voxels along an axis of the cells in which tissue is counted
SHARE = 0.25  # of a cell that must be tissue: noise and the table's edges fill less


def body_box(image: Tensor, level: float = 0.005) -> tuple[slice, slice, slice]:
    """Bounding box of the voxels that are not air, one cell of four voxels wider than the outermost cell of tissue.

    A voxel is air if it lies, in every channel, within a share ``level`` of the channel's range above its smallest
    value. The level is small where intensities were clipped, as those of PET/CT are: all air then has the smallest
    value. A scan that was not clipped needs a larger one, above the noise of its air. Where no cell is tissue, and in a
    volume of less than a cell, the box is the whole volume.

    Args:
        image: ``[C, X, Y, Z]``, where air has the smallest values.
        level: share of a channel's range.

    Returns:
        A slice along each axis.

    Example:
        >>> import torch
        >>> from monai_ext.inferers.body_box import body_box
        >>> scan = torch.full((1, 40, 40, 40), -300.0)
        >>> scan[:, 16:24, 12:28] = 50
        >>> body_box(scan)
        (slice(12, 28, None), slice(8, 32, None), slice(0, 40, None))
    """
    whole = (slice(0, image.shape[1]), slice(0, image.shape[2]), slice(0, image.shape[3]))
    if min(image.shape[1:]) < CELL:
        return whole
    low, high = image.flatten(1).aminmax(dim=1)
    limit = (low + level * (high - low))[:, None, None, None]
    tissue = (image > limit).any(0).float()[None, None]
    cells = F.avg_pool3d(tissue, CELL, ceil_mode=True, count_include_pad=False)[0, 0] > SHARE
    if not cells.any():
        return whole
    box = []
    for axis, length in enumerate(image.shape[1:]):
        found = cells.any(dim=[other for other in range(3) if other != axis]).nonzero()[:, 0]
        first, last = int(found[0]), int(found[-1])
        box.append(slice(max(0, (first - 1) * CELL), min(length, (last + 2) * CELL)))
    return box[0], box[1], box[2]
