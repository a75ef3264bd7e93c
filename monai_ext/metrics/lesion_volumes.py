"""Volumes of missed and of falsely predicted lesions, as autoPET counts them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from monai.utils import convert_to_numpy
from scipy import ndimage
from torch import Tensor

__all__ = ["false_negative_volume", "false_positive_volume"]


def false_positive_volume(pred: Tensor, truth: Tensor, spacing: Sequence[float]) -> Tensor:
    """Volume of the predicted lesions that touch no true one (autoPET, Gatidis et al. 2022).

    A lesion is a component of voxels that share a face or an edge (18-connectivity). A component that has one voxel in
    common with the truth does not count at all.

    Args:
        pred: bool or {0, 1} ``[B, X, Y, Z]``.
        truth: as ``pred``.
        spacing: mm per voxel along each axis.

    Returns:
        fp32 ``[B]`` in ml; 0 where nothing is predicted, whether there is a lesion or not.

    Raises:
        ValueError: when the masks are not volumes of the same shape, or there is not one spacing per axis.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import false_positive_volume
        >>> pred, truth = torch.zeros(2, 1, 8, 8, 8, dtype=torch.bool)
        >>> pred[:, :2, :2, :2], pred[:, 5:7, 5:7, 5:7], truth[:, 0, 0, 0] = True, True, True
        >>> false_positive_volume(pred, truth, spacing=(5, 5, 5))  # the second lesion: 8 voxels of 0.125 ml
        tensor([1.])
    """
    return _isolated_volume(pred, truth, spacing)


def false_negative_volume(pred: Tensor, truth: Tensor, spacing: Sequence[float], empty: float = math.nan) -> Tensor:
    """Volume of the true lesions that no predicted voxel touches; see :func:`false_positive_volume`.

    Args:
        pred: bool or {0, 1} ``[B, X, Y, Z]``.
        truth: as ``pred``.
        spacing: mm per voxel along each axis.
        empty: value of a case without a true lesion. NaN leaves the patient out of the mean, as the challenge does;
            some scripts count 0, which makes the mean smaller.

    Returns:
        fp32 ``[B]`` in ml.

    Raises:
        ValueError: when the masks are not volumes of the same shape, or there is not one spacing per axis.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import false_negative_volume
        >>> pred, truth = torch.zeros(2, 1, 8, 8, 8, dtype=torch.bool)
        >>> truth[:, :2, :2, :2], truth[:, 5:7, 5:7, 5:7], pred[:, 0, 0, 0] = True, True, True
        >>> false_negative_volume(pred, truth, spacing=(5, 5, 5))  # the second lesion: 8 voxels of 0.125 ml
        tensor([1.])
    """
    present = truth.as_subclass(Tensor).bool().flatten(1).any(1)
    return torch.where(present, _isolated_volume(truth, pred, spacing), empty)


def _isolated_volume(mask: Tensor, other: Tensor, spacing: Sequence[float]) -> Tensor:
    """Milliliters of the components of ``mask`` that have no voxel in common with ``other``."""
    if mask.ndim != 4 or mask.shape != other.shape or len(spacing) != 3:
        raise ValueError(
            f"need two masks [B, X, Y, Z] of one shape and 3 spacings, got {tuple(mask.shape)}, {tuple(other.shape)} "
            f"and {tuple(spacing)}"
        )
    connectivity = ndimage.generate_binary_structure(3, 2)
    volumes = []
    for one, another in zip(convert_to_numpy(mask) > 0, convert_to_numpy(other) > 0):
        components, count = ndimage.label(one, connectivity)
        voxels = np.bincount(components.ravel(), minlength=count + 1)
        voxels[np.unique(components[another])] = 0  # touched by the other mask
        volumes.append(voxels[1:].sum() * math.prod(spacing) / 1000)
    return torch.tensor(volumes, dtype=torch.float32, device=mask.device)
