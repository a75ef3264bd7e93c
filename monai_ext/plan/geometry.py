"""Spacing, size and down-samplings of a network as nnU-Net plans them (Isensee et al. 2021, supplement 3 and 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["coarsen", "crop_size", "median_shape", "strides_of", "target_spacing"]

Vector = Sequence[float] | NDArray[np.float64]
ANISOTROPIC = 3.0  # times the other axes' spacing, and a third of their voxels
MIN_FEATURES = 4  # voxels of the coarsest level along an axis
MAX_LEVELS = 5
LARGEST = 256  # voxels along an axis of the cube that a crop begins with, before it is made to fit


def target_spacing(spacings: NDArray[np.float64], shapes: NDArray[np.float64]) -> tuple[float, float, float] | None:
    """Spacing that all cases are resampled to.

    The median along each axis. Where one axis is anisotropic (its spacing over three times the others', its voxels
    under a third of theirs), its tenth percentile, but no finer than the others: a median would blur the sharper half.

    Args:
        spacings: mm, ``[N, 3]``.
        shapes: voxels, ``[N, 3]``.

    Returns:
        mm along each axis; None where all cases agree within 1 %, and each is best left on its own grid.
    """
    target = np.percentile(spacings, 50, axis=0)
    if (np.abs(spacings - target) <= 0.01 * target).all():
        return None
    voxels = np.median(spacings * shapes, axis=0) / target
    worst = int(np.argmax(target))
    others = [axis for axis in range(3) if axis != worst]
    thick = target[worst] > ANISOTROPIC * max(target[others])
    if thick and voxels[worst] * ANISOTROPIC < min(voxels[others]):
        target[worst] = max(float(np.percentile(spacings[:, worst], 10)), float(max(target[others])))
    return tuple(round(float(mm), 3) for mm in target)  # type: ignore[return-value]


def median_shape(
    spacings: NDArray[np.float64], shapes: NDArray[np.float64], spacing: Vector | None
) -> NDArray[np.float64]:
    """Median voxels along each axis after resampling to ``spacing``, ``[3]``."""
    return np.median(shapes if spacing is None else spacings * shapes / np.asarray(spacing), axis=0)


def strides_of(spacing: Vector, size: Sequence[int], max_levels: int = MAX_LEVELS) -> list[list[int]]:
    """Down-sampling along each axis between a level of the network and the next.

    An axis is halved while that leaves four voxels, and while its spacing is less than twice the finest of the axes
    that can be halved: so thick slices wait until the plane is as coarse as they are.

    Args:
        spacing: mm along each axis.
        size: voxels along each axis.
        max_levels: down-samplings at most.

    Returns:
        1 or 2 for each axis, one row for each down-sampling.
    """
    mm, voxels = [float(s) for s in spacing], [int(n) for n in size]
    strides: list[list[int]] = []
    while len(strides) < max_levels:
        axes = [axis for axis, n in enumerate(voxels) if n >= 2 * MIN_FEATURES]
        finest = min((mm[axis] for axis in axes), default=0.0)
        axes = [axis for axis in axes if mm[axis] / finest < 2]
        if not axes or (len(axes) == 1 and voxels[axes[0]] < 3 * MIN_FEATURES):
            break
        strides.append([2 if axis in axes else 1 for axis in range(len(voxels))])
        for axis in axes:
            mm[axis], voxels[axis] = 2 * mm[axis], math.ceil(voxels[axis] / 2)
    return strides


def crop_size(
    spacing: Vector, shape: Vector, max_voxels: float, max_levels: int = MAX_LEVELS
) -> tuple[list[int], list[list[int]]]:
    """The largest crop of at most ``max_voxels`` voxels, of the shape of the median case, and its strides.

    It begins with the median case (at most a cube of 256 in mm), rounded to what the down-samplings need, and is made
    smaller along the axis that has the largest share of the median case, until it fits. nnU-Net rounds up; here a rim
    of less than half a step stays outside, where a crop shows the rest: what is padded costs a step's time, teaches
    nothing, and is a large part of what instance normalisation sees of a small volume.

    Args:
        spacing: mm along each axis.
        shape: voxels of the median case.
        max_voxels: of a crop; what the device can train in the time that there is.
        max_levels: down-samplings at most.

    Returns:
        Voxels along each axis, and strides as of :func:`strides_of`.
    """
    per_mm = 1 / np.asarray(spacing, dtype=float)
    cube = per_mm * (LARGEST**3 / per_mm.prod()) ** (1 / 3)
    size = [max(1, round(min(side, voxels))) for side, voxels in zip(cube, shape)]
    while True:
        strides = strides_of(spacing, size, max_levels)
        steps = [math.prod(stride[axis] for stride in strides) for axis in range(len(size))]
        whole = [max(1, math.ceil(n / step - 0.5)) * step for n, step in zip(size, steps)]
        if math.prod(whole) <= max_voxels or max(whole) <= 2 * MIN_FEATURES:
            return whole, strides
        axis = max(range(len(size)), key=lambda a: (whole[a] / shape[a], whole[a]))
        if whole[axis] - steps[axis] < MIN_FEATURES:
            axis = int(np.argmax(whole))
        size = list(whole)
        size[axis] = max(1, whole[axis] - steps[axis])


def coarsen(
    spacing: Vector,
    shape: Vector,
    max_voxels: float,
    coarsest: float,
    covered: float = 0.25,
) -> tuple[list[float], list[float]]:
    """A coarser spacing, where a crop would else see too little of a case (nnU-Net's low resolution).

    Spacing grows by 3 % at a time, along the finest axes until all are alike and then along all, until a crop of
    ``max_voxels`` covers a quarter of the median case, as nnU-Net wants it, or the finest axis is at ``coarsest``.

    Args:
        spacing: mm along each axis.
        shape: voxels of the median case.
        max_voxels: of a crop.
        coarsest: mm beyond which the structures sought would be lost.
        covered: share of the median case that a crop must cover.

    Returns:
        mm along each axis, and the voxels of the median case then.
    """
    mm = np.asarray(spacing, dtype=float)
    extent = mm * np.asarray(shape, dtype=float)
    while np.prod(extent / mm) * covered > max_voxels and mm.min() < coarsest:
        fine = mm < 0.97 * mm.max() if mm.max() > 1.5 * mm.min() else np.ones(3, dtype=bool)
        mm = np.where(fine, mm * 1.03, mm)
    return [round(float(value), 2) for value in mm], [float(n) for n in extent / mm]
