"""Settings of the bundles that see 3-D crops, from facts of the data and the cost of a step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from monai_ext.plan.dataset_facts import DatasetFacts
from monai_ext.plan.geometry import coarsen, crop_size, median_shape, target_spacing
from monai_ext.plan.schedule import STEPS

__all__ = ["VolumePlan", "plan_volumes"]

WIDTHS = (32, 16, 8)
SMALLEST = 8.0  # voxels across the lesser structures that a coarser grid must leave
WHOLE = 0.85  # of each axis of the median case, of a crop that shows all of it
STEPS_OF_WIDTH = {32: 2 * STEPS}  # on development patients 16 channels and more steps were better than 32 and fewer
LEAST_CROP = 32**3  # voxels; below, a crop shows too little round a lesion

Cost = Callable[[int, Sequence[int], Sequence[Sequence[int]]], tuple[float, float]]  # seconds of a step, gibibytes


@dataclass(frozen=True)
class VolumePlan:
    """Geometry and network of a 3-D phase, with the reasons."""

    spacing: tuple[float, ...] | None
    crop: list[int]
    strides: list[list[int]]
    width: int
    step_seconds: float
    gibibytes: float
    reasons: dict[str, str]

    @property
    def whole(self) -> bool:
        """Whether a crop holds the median case."""
        return "whole" in self.reasons["crop"]

    @property
    def levels(self) -> int:
        """Down-samplings."""
        return len(self.strides)


def plan_volumes(facts: DatasetFacts, cost: Cost, seconds: float, memory: float) -> VolumePlan:
    """Choose spacing, crop, down-samplings and width.

    nnU-Net's rules give spacing and the shape of a crop. How large a crop may be is not given by a GPU of 8 GB here but
    by the time: at least a thousand steps have to fit. What the time leaves goes first to a crop that holds the median
    case, then to the width of the network, to 32 channels if two thousand steps are left. Where it does not allow a
    quarter of the median case at width 16, voxels become coarser (nnU-Net's low resolution), as far as the smaller
    structures keep eight voxels.

    Args:
        facts: of the data set.
        cost: (width, crop, strides) -> seconds and gibibytes of a step; called a few times.
        seconds: that there are for the steps of the run.
        memory: gibibytes that a run may take.
    """
    reasons: dict[str, str] = {}
    spacing: tuple[float, ...] | None = target_spacing(facts.spacings, facts.shapes)
    mm = facts.spacing if spacing is None else np.asarray(spacing)
    shape = median_shape(facts.spacings, facts.shapes, spacing)
    reasons["spacing"] = (
        "all scans agree: each stays on its grid" if spacing is None else "median of the scans (nnU-Net)"
    )
    tried, strides = crop_size(mm, shape, 64**3, max_levels=4)
    affordable, per_voxel = _affordable(cost, 16, tried, strides, seconds, memory)
    limit = max(affordable, LEAST_CROP)
    coarsest = max(float(min(mm)), _structure_mm(facts) / SMALLEST)
    coarse, coarse_shape = coarsen(mm, shape, limit, coarsest)
    if coarse != [round(float(value), 2) for value in mm]:
        spacing, mm, shape = tuple(coarse), np.asarray(coarse), np.asarray(coarse_shape)
        reasons["spacing"] = (
            f"so that a crop of {limit:.0f} voxels covers a quarter of the median scan (nnU-Net, low resolution)"
        )
    crop, strides = crop_size(mm, shape, limit)
    whole = all(n >= WHOLE * voxels for n, voxels in zip(crop, shape))
    share = math.prod(crop) / float(np.prod(shape))
    reasons["crop"] = (
        "the whole of the median scan, rounded for the down-samplings: what is padded costs time and teaches nothing"
        if whole
        else f"{share:.0%} of the median scan; {STEPS} steps have to fit into the time"
    )
    width, found = 8, cost(8, crop, strides) if affordable < LEAST_CROP / 2 else (0.0, 0.0)
    if not found[0]:
        for width in WIDTHS:
            guess = per_voxel * math.prod(crop) * (width / 16) ** 1.5
            steps = STEPS_OF_WIDTH.get(width, STEPS)
            if guess * steps > 1.3 * seconds and width > 8:
                continue
            found = cost(width, crop, strides)
            if width == 8 or (found[0] * steps <= seconds and found[1] <= memory):
                break
    while found[1] > memory and math.prod(crop) > 8**3:  # what nnU-Net does for its GPU
        crop, strides = crop_size(mm, shape, 0.6 * math.prod(crop))
        reasons["crop"] = f"the largest that fits into {memory:.3g} GiB"
        found = cost(width, crop, strides)
    reasons["width"] = (
        f"the widest of {', '.join(map(str, sorted(WIDTHS)))} to take {STEPS} steps in the time, "
        f"{STEPS_OF_WIDTH[32]} if 32; {found[0]:.2g} s each"
    )
    reasons["strides"] = "an axis is halved while 4 voxels are left and its spacing is below twice the finest (nnU-Net)"
    return VolumePlan(spacing, crop, strides, width, found[0], found[1], reasons)


def _affordable(
    cost: Cost, width: int, crop: Sequence[int], strides: Sequence[Sequence[int]], seconds: float, memory: float
) -> tuple[float, float]:
    """Voxels of a crop for which enough steps fit into time and memory, and seconds per voxel, from one trial."""
    step, gibibytes = cost(width, crop, strides)
    voxels = math.prod(crop)
    per_voxel = step / voxels
    return min(seconds / STEPS / per_voxel, voxels * memory / gibibytes * 2), per_voxel


def _structure_mm(facts: DatasetFacts) -> float:
    """Millimetres across the lesser structures: a ball of the tenth percentile of lesions, or of the smallest class."""
    lesions = facts.lesion_ml
    if len(lesions):
        ml = float(np.percentile(lesions[lesions > 0.01], 10)) if (lesions > 0.01).any() else 0.0
    else:
        volumes: dict[int, list[float]] = {}
        for case in facts.cases:
            for value, count in case.voxels.items():
                volumes.setdefault(value, []).append(count * float(np.prod(case.spacing)) / 1000)
        medians = [float(np.median(found)) for found in volumes.values()]
        ml = float(np.percentile(medians, 10)) if medians else 0.0
    return 2 * (3000 * ml / (4 * math.pi)) ** (1 / 3)
