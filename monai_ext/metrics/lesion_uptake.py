"""Values that a PET reader reports about lesions: number, volume, uptake and total lesion glycolysis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from monai.utils import convert_to_numpy
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from torch import Tensor

__all__ = ["lesion_uptake", "numbered_lesions", "suv_peak"]

PEAK_RADIUS = (3000 / (4 * math.pi)) ** (1 / 3)  # mm, of a sphere of 1 cm3


def numbered_lesions(mask: Tensor | ArrayLike) -> NDArray[np.int32]:
    """The lesions of a mask, by the numbers that reports and pictures give them: 1 is the largest.

    A lesion is a component of voxels that share a face or an edge (18-connectivity), as in
    :func:`~monai_ext.metrics.false_positive_volume`.

    Args:
        mask: bool or {0, 1} ``[X, Y, Z]``, in the order of its file: of lesions of one size the first comes first.

    Example:
        >>> import numpy as np
        >>> from monai_ext.metrics import numbered_lesions
        >>> numbered_lesions(np.array([1, 0, 1, 1, 0]).reshape(5, 1, 1)).ravel().tolist()
        [2, 0, 1, 1, 0]
    """
    inside = np.asarray(convert_to_numpy(mask)) > 0
    components, count = ndimage.label(inside, ndimage.generate_binary_structure(3, 2))
    sizes = np.bincount(components.ravel(), minlength=count + 1)[1:]
    numbers = np.zeros(count + 1, dtype=np.int32)
    numbers[1 + np.argsort(-sizes, kind="stable")] = np.arange(1, count + 1)
    return numbers[components]


def suv_peak(suv: ArrayLike, where: ArrayLike, spacing: Sequence[float]) -> float:
    """The highest mean SUV in a sphere of 1 cm3 that is centred on a voxel of a lesion.

    So PERCIST has it (Wahl et al., J Nucl Med 2009;50:122S) and IBSI names it the global intensity peak (Zwanenburg et
    al., Radiology 2020). A voxel belongs to the sphere if its centre does: within 6.2 mm. The sphere may reach out of
    the lesion; beyond the scan there is nothing to average.

    Args:
        suv: SUV ``[X, Y, Z]``.
        where: bool ``[X, Y, Z]``, the voxels of the lesion, at least one.
        spacing: mm per voxel along each axis.

    Example:
        >>> import numpy as np
        >>> from monai_ext.metrics import suv_peak
        >>> suv = np.zeros((9, 9, 9))
        >>> suv[4, 4, 4] = 7  # with its six neighbours within 6.2 mm: 7 voxels of 5 mm
        >>> suv_peak(suv, suv > 0, (5, 5, 5))
        1.0
    """
    values, inside = np.asarray(suv, dtype=np.float64), np.asarray(where, dtype=bool)
    reach = [math.floor(PEAK_RADIUS / mm) for mm in spacing]
    axes = np.meshgrid(*(np.arange(-n, n + 1) * mm for n, mm in zip(reach, spacing)), indexing="ij")
    sphere = (sum(axis**2 for axis in axes) <= PEAK_RADIUS**2).astype(np.float64)
    box = around_box(ndimage.find_objects(inside.astype(np.uint8))[0], spacing)
    total = ndimage.correlate(values[box], sphere, mode="constant")
    count = ndimage.correlate(np.ones_like(values[box]), sphere, mode="constant")
    return float((total / count)[inside[box]].max())


def around_box(box: tuple[slice, ...], spacing: Sequence[float]) -> tuple[slice, ...]:
    """A box, larger by what a sphere of 1 cm3 reaches."""
    reach = [math.floor(PEAK_RADIUS / mm) for mm in spacing]
    return tuple(slice(max(part.start - n, 0), part.stop + n) for part, n in zip(box, reach))


def lesion_uptake(mask: Tensor | ArrayLike, suv: Tensor | ArrayLike, spacing: Sequence[float]) -> dict[str, Any]:
    """Measure the lesions of a mask, numbered by :func:`numbered_lesions`.

    Total lesion glycolysis (TLG) is SUVmean times volume (Larson et al. 1999), hence the sum of SUV times the volume of
    a voxel. The volume of all lesions is the metabolic tumor volume (MTV).

    Args:
        mask: bool or {0, 1} ``[X, Y, Z]``.
        suv: SUV by body weight, ``[X, Y, Z]``.
        spacing: mm per voxel along each axis.

    Returns:
        ``lesion_count``, ``volume_ml``, ``suv_max``, ``suv_peak``, ``suv_mean`` and ``tlg_ml`` (the sum over all
        lesions, in SUV ml) of all lesions together, and ``lesions``: a list with one dict per lesion, the largest
        first, with its ``number``, ``volume_ml``, ``suv_max``, :func:`suv_peak`, ``suv_mean``, ``tlg_ml`` and
        ``peak_voxel``, the voxel of its highest SUV. Without a lesion the SUV are None, the other numbers 0.

    Raises:
        ValueError: when mask and SUV are not volumes of the same shape.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import lesion_uptake
        >>> mask = torch.zeros(8, 8, 8, dtype=torch.bool)
        >>> mask[2:4, 2:4, 2:4] = True  # 8 voxels of 0.125 ml
        >>> found = lesion_uptake(mask, torch.full((8, 8, 8), 6.0), spacing=(5, 5, 5))
        >>> found["lesion_count"], found["volume_ml"], found["suv_max"], found["suv_peak"], found["tlg_ml"]
        (1, 1.0, 6.0, 6.0, 6.0)
    """
    inside, values = np.asarray(convert_to_numpy(mask)) > 0, np.asarray(convert_to_numpy(suv), dtype=np.float64)
    if inside.ndim != 3 or inside.shape != values.shape or len(spacing) != 3:
        raise ValueError(f"need mask and SUV [X, Y, Z] of one shape, got {inside.shape} and {values.shape}")
    ml = math.prod(float(mm) for mm in spacing) / 1000
    numbers = numbered_lesions(inside)
    lesions = []
    for number, box in enumerate(ndimage.find_objects(numbers), 1):
        own = numbers[box] == number
        found = {"number": number, **measured(values[box][own], ml)}
        wide = around_box(box, spacing)
        found["suv_peak"] = suv_peak(values[wide], numbers[wide] == number, spacing)
        peak = np.unravel_index(np.where(own, values[box], -np.inf).argmax(), own.shape)
        found["peak_voxel"] = [int(p + part.start) for p, part in zip(peak, box)]
        lesions.append(found)
    total = measured(values[inside], ml) | {"suv_peak": max((one["suv_peak"] for one in lesions), default=None)}
    return {"lesion_count": len(lesions), **total, "lesions": lesions}


def measured(values: NDArray[Any], ml: float) -> dict[str, Any]:
    """Volume and uptake of voxels of ``ml`` millilitres each."""
    there = len(values) > 0
    return {
        "volume_ml": len(values) * ml,
        "suv_max": float(values.max()) if there else None,
        "suv_peak": None,
        "suv_mean": float(values.mean()) if there else None,
        "tlg_ml": float(values.sum()) * ml,
    }
