"""Normalized surface Dice: the share of two surfaces that agree within a tolerance."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.metrics import compute_surface_dice
from torch import Tensor

__all__ = ["surface_dice"]


def surface_dice(pred: Tensor, truth: Tensor, spacing: Sequence[float], tolerance: float = 3.0) -> Tensor:
    """Normalized surface Dice of each sample (Nikolov et al. 2018) with sub-voxel surface areas, by MONAI.

    Args:
        pred: bool or {0, 1} ``[B, *spatial]``, 2-D or 3-D.
        truth: as ``pred``.
        spacing: mm per voxel along each axis.
        tolerance: largest distance in mm at which two surfaces still agree. AnatoMask does not state its tolerance; 3
            mm is that of TotalSegmentator (Wasserthal et al. 2023), one of its data sets.

    Returns:
        fp32 ``[B]``: NaN where both masks are empty, 0 where one is.

    Raises:
        ValueError: when the shapes differ, or there is not one spacing per axis.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import surface_dice
        >>> truth = torch.zeros(1, 12, 12, 12, dtype=torch.bool)
        >>> truth[:, 3:9, 3:9, 3:9] = True
        >>> surface_dice(truth.roll(2, 1), truth, spacing=(1, 1, 1), tolerance=3.0)  # 2 mm apart
        tensor([1.])
    """
    pred, truth = (mask.as_subclass(Tensor).bool() for mask in (pred, truth))
    found, present = (mask.flatten(1).any(1) for mask in (pred, truth))
    dice = torch.zeros(found.shape, device=pred.device).masked_fill_(~(found | present), torch.nan)
    both = found & present
    if both.any():
        dice[both] = compute_surface_dice(
            pred[both][:, None],
            truth[both][:, None],
            class_thresholds=[tolerance],
            include_background=True,
            spacing=[float(mm) for mm in spacing],
            use_subvoxels=True,
        )[:, 0]
    return dice
