"""How intensities are scaled, from what they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from monai_ext.plan.dataset_facts import DatasetFacts

__all__ = ["fixed_scales"]


def fixed_scales(facts: DatasetFacts, suv: tuple[str, ...] = ("pet",)) -> dict[str, list[Any]]:
    """What :class:`~monai_ext.transforms.fixed_scale.FixedScale` takes, for each modality whose values are quantities.

    Others are z-scored scan by scan. CT as nnU-Net scales it: clipped to the percentiles 0.5 and 99.5 of the voxels
    inside the labels of all cases, less their mean, over their standard deviation. PET alike, but from SUV 0, because
    the dark part of a lesion must not be cut off, and of the logarithm: in units of hot lesions, one of SUV 1.5 would
    hardly differ from what surrounds it.

    Args:
        facts: of the data set.
        suv: modalities in SUV, whose logarithm is scaled.

    Returns:
        Lower end, upper end, mean and standard deviation by modality, and True for SUV; nothing for a constant one.
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
        seen = np.log1p(clipped) if name in suv else clipped
        if low < high and seen.std() > 0:
            found[name] = [round(v, 3) for v in (low, high, float(seen.mean()), float(seen.std()))]
            found[name] += [True] * (name in suv)
    return found
