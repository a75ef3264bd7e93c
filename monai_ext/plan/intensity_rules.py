"""How intensities are scaled, from what they are."""

from __future__ import annotations

import numpy as np

from monai_ext.plan.dataset_facts import DatasetFacts

__all__ = ["fixed_scales"]


def fixed_scales(facts: DatasetFacts, suv: tuple[str, ...] = ("pet",)) -> dict[str, list[float]]:
    """Four numbers for each modality whose values are quantities; others are z-scored scan by scan.

    CT as nnU-Net scales it: clipped to the percentiles 0.5 and 99.5 of the voxels inside the labels of all cases, less
    their mean, over their standard deviation. PET alike, but from SUV 0: the dark part of a lesion must not be cut off,
    and background differs from lesion by being lower.

    Args:
        facts: of the data set.
        suv: modalities in SUV.

    Returns:
        Lower end, upper end, mean and standard deviation by modality; nothing for a constant one.
    """
    found = {}
    for name in facts.modalities:
        inside = facts.voxels(name)
        if not (name in suv or facts.is_ct(name)) or not len(inside):
            continue
        low, high = (float(p) for p in np.percentile(inside, [0.5, 99.5]))
        if name in suv:
            low = 0.0
        clipped = inside.clip(low, high)
        if low < high and clipped.std() > 0:
            found[name] = [round(v, 3) for v in (low, high, float(clipped.mean()), float(clipped.std()))]
    return found
