"""Hausdorff distance in millimeters, without its outliers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from monai.metrics import compute_hausdorff_distance
from torch import Tensor

__all__ = ["hausdorff95"]


def hausdorff95(pred: Tensor, truth: Tensor, spacing: Sequence[float], penalize_missing: bool = False) -> Tensor:
    """95th percentile of the distances between two surfaces, the larger of both directions (AMLP, eq. 13), by MONAI.

    A distance to nothing does not exist. Both masks empty gives NaN, and so does one of them empty: leaving such
    samples out flatters a network that finds nothing, so report n beside the mean, or use the penalty.

    Args:
        pred: bool or {0, 1} ``[B, *spatial]``, 2-D or 3-D.
        truth: as ``pred``.
        spacing: mm per pixel along each axis.
        penalize_missing: True gives the diagonal of the image in mm, instead of NaN, where exactly one mask is empty.

    Returns:
        fp32 ``[B]`` in mm.

    Raises:
        ValueError: when the shapes differ, or there is not one spacing per axis.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import hausdorff95
        >>> pred, truth = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
        >>> pred[:, 2, 2], truth[:, 2, 5] = True, True
        >>> hausdorff95(pred, truth, spacing=(1.0, 0.5))  # three pixels of 0.5 mm
        tensor([1.5000])
    """
    spacing = [float(mm) for mm in spacing]
    pred, truth = (mask.as_subclass(Tensor).bool() for mask in (pred, truth))
    found, present = (mask.flatten(1).any(1) for mask in (pred, truth))
    distance = torch.full(found.shape, torch.nan, device=pred.device)
    if penalize_missing:
        distance[found ^ present] = math.hypot(*(mm * n for mm, n in zip(spacing, truth.shape[1:])))
    both = found & present
    if both.any():
        distance[both] = compute_hausdorff_distance(
            pred[both][:, None], truth[both][:, None], include_background=True, percentile=95, spacing=spacing
        )[:, 0]
    return distance
