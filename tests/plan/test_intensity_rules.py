"""Scales that follow from the set's foreground."""

import numpy as np
import pytest
import torch

from monai_ext.plan.intensity_rules import fixed_scales
from monai_ext.transforms.fixed_scale import FixedScale


def test_quantities_are_scaled_by_the_foreground(make_facts):
    facts = make_facts(modalities=("ct", "pet", "mr"), inside={"ct": (40, 30), "pet": (4, 1), "mr": (300, 90)})
    for case in facts.cases:
        case.outside["ct"] = np.linspace(-900, 300, 500).astype(np.float32)
    scales = fixed_scales(facts)
    assert scales.keys() == {"ct", "pet"}
    ct = facts.voxels("ct")
    low, high = np.percentile(ct, [0.5, 99.5])
    assert scales["ct"] == pytest.approx(
        [low, high, np.clip(ct, low, high).mean(), np.clip(ct, low, high).std()], abs=0.01
    )
    pet = facts.voxels("pet")
    logarithm = np.log(1 + np.clip(pet, 0, np.percentile(pet, 99.5)))
    assert scales["pet"] == pytest.approx(
        [0, np.percentile(pet, 99.5), logarithm.mean(), logarithm.std(), True], abs=0.01
    )


def test_a_faint_lesion_is_not_lost_among_hot_ones(make_facts):
    """Of lesions with uptakes from 1.5 to 15, the faintest stands out of surroundings of half as much."""
    facts = make_facts(modalities=("pet",), inside={"pet": (6, 4)})
    scale = FixedScale(*fixed_scales(facts)["pet"])
    faint, around, hot, warm = scale(torch.tensor([1.5, 0.75, 14.0, 7.0])).tolist()
    assert faint - around > 0.4 * (hot - warm)
