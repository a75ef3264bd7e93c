"""Scales that follow from the set's foreground."""

import numpy as np
import pytest

from monai_ext.plan.intensity_rules import fixed_scales


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
    assert scales["pet"][0] == 0
