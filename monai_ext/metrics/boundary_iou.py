"""IoU of the inner rims of two masks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from monai.utils import ensure_tuple_rep
from torch import Tensor

from monai_ext.metrics.overlap import overlap

__all__ = ["boundary_distance", "boundary_iou", "inner_boundary"]


def boundary_distance(size: Sequence[int], share: float = 0.02) -> int:
    """Width of the rim in pixels: 2 % of the image's diagonal, at least 1 (Cheng et al. 2021, section 5).

    Example:
        >>> from monai_ext.metrics import boundary_distance
        >>> boundary_distance((144, 144)), boundary_distance((160, 160))
        (4, 5)
    """
    return max(1, round(share * math.hypot(*size)))


def inner_boundary(mask: Tensor, distance: int | Sequence[int]) -> Tensor:
    """Pixels of a mask that lie within ``distance`` of its contour, measured along rows, columns and diagonals.

    Args:
        mask: bool or {0, 1} ``[B, *spatial]``. Pixels outside the image count as background.
        distance: width of the rim in pixels, for all axes or for each; 0 ignores contours along an axis, so ``(d, d,
            0)`` takes the rim of each axial slice of a volume.

    Returns:
        bool ``[B, *spatial]``.
    """
    mask = mask.as_subclass(Tensor).bool()
    # Eroding by a square is eroding along each axis in turn; a minimum filter is a negated maximum filter.
    background = (~mask).float()
    for axis, width in enumerate(ensure_tuple_rep(distance, mask.ndim - 1), start=1):
        if width > 0:
            lines = background.movedim(axis, -1)
            padded = F.pad(lines, (width, width), value=1.0).flatten(0, -2)[:, None]
            near = F.max_pool1d(padded, 2 * width + 1, stride=1)[:, 0].reshape(lines.shape)
            background = near.movedim(-1, axis)
    return mask & (background > 0)


def boundary_iou(
    pred: Tensor, truth: Tensor, distance: int | Sequence[int] | None = None, only_lesions: bool = False
) -> Tensor:
    """Boundary IoU of each sample (Cheng et al. 2021; AMLP, eq. 12): the IoU of the two masks' inner rims.

    Plain IoU hardly changes with errors at the contour of a large object; Boundary IoU does.

    Args:
        pred: bool or {0, 1} ``[B, *spatial]``, 2-D or 3-D.
        truth: as ``pred``.
        distance: see :func:`inner_boundary`; by default 2 % of the diagonal (4 pixels at 144x144, 5 at 160x160). Report
            it with the result: values with different distances cannot be compared.
        only_lesions: True gives NaN where the truth is empty. Otherwise two empty masks give 1 and one empty mask gives
            0.

    Returns:
        fp32 ``[B]``.

    Raises:
        ValueError: when the shapes differ.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import boundary_iou
        >>> truth = torch.zeros(1, 12, 12, dtype=torch.bool)
        >>> truth[:, 2:10, 2:10] = True
        >>> pred = truth.clone()
        >>> pred[:, 4:8, 4:8] = False  # a hole in the middle, with a rim of 20 pixels
        >>> boundary_iou(pred, truth, distance=1)  # the outer rim's 28 pixels / (28 + 20)
        tensor([0.5833])
    """
    width = boundary_distance(truth.shape[1:]) if distance is None else distance
    return overlap(inner_boundary(pred, width), inner_boundary(truth, width), only_lesions).iou
