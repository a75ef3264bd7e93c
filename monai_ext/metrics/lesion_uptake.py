"""Values that a PET reader reports about lesions: number, volume, uptake and total lesion glycolysis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from monai.utils import convert_to_numpy
from numpy.typing import ArrayLike
from scipy import ndimage
from torch import Tensor

__all__ = ["lesion_uptake"]


def lesion_uptake(mask: Tensor | ArrayLike, suv: Tensor | ArrayLike, spacing: Sequence[float]) -> dict[str, Any]:
    """Measure the lesions of a mask.

    A lesion is a component of voxels that share a face or an edge (18-connectivity), as in
    :func:`~monai_ext.metrics.false_positive_volume`. Total lesion glycolysis (TLG) is SUVmean times volume (Larson et
    al. 1999), hence the sum of SUV times the volume of a voxel.

    Args:
        mask: bool or {0, 1} ``[X, Y, Z]``.
        suv: SUV by body weight, ``[X, Y, Z]``.
        spacing: mm per voxel along each axis.

    Returns:
        ``lesion_count``, ``volume_ml``, ``suv_max``, ``suv_mean`` and ``tlg_ml`` (the sum over all lesions, in SUV ml)
        of all lesions together, and ``lesions``: a list with one dict per lesion, the largest first, with
        ``volume_ml``, ``suv_max``, ``suv_mean``, ``tlg_ml`` and ``peak_voxel``, the voxel of its highest SUV. Without a
        lesion ``suv_max`` and ``suv_mean`` are None, the other numbers 0.

    Raises:
        ValueError: when mask and SUV are not volumes of the same shape.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import lesion_uptake
        >>> mask = torch.zeros(8, 8, 8, dtype=torch.bool)
        >>> mask[2:4, 2:4, 2:4] = True  # 8 voxels of 0.125 ml
        >>> found = lesion_uptake(mask, torch.full((8, 8, 8), 6.0), spacing=(5, 5, 5))
        >>> found["lesion_count"], found["volume_ml"], found["suv_max"], found["tlg_ml"]
        (1, 1.0, 6.0, 6.0)
    """
    inside, values = np.asarray(convert_to_numpy(mask)) > 0, np.asarray(convert_to_numpy(suv), dtype=np.float64)
    if inside.ndim != 3 or inside.shape != values.shape or len(spacing) != 3:
        raise ValueError(f"need mask and SUV [X, Y, Z] of one shape, got {inside.shape} and {values.shape}")
    ml = math.prod(float(mm) for mm in spacing) / 1000
    components, count = ndimage.label(inside, ndimage.generate_binary_structure(3, 2))
    lesions = []
    for number, box in enumerate(ndimage.find_objects(components), 1):
        own = components[box] == number
        found = measured(values[box][own], ml)
        peak = np.unravel_index(np.where(own, values[box], -np.inf).argmax(), own.shape)
        found["peak_voxel"] = [int(p + part.start) for p, part in zip(peak, box)]
        lesions.append(found)
    lesions.sort(key=lambda lesion: -lesion["volume_ml"])
    return {"lesion_count": count, **measured(values[inside], ml), "lesions": lesions}


def measured(values: np.ndarray, ml: float) -> dict[str, Any]:
    """Volume and uptake of voxels of ``ml`` millilitres each."""
    there = len(values) > 0
    return {
        "volume_ml": len(values) * ml,
        "suv_max": float(values.max()) if there else None,
        "suv_mean": float(values.mean()) if there else None,
        "tlg_ml": float(values.sum()) * ml,
    }
