"""Spacing, crop and width of volumes."""

import math

import numpy as np
import pytest

from monai_ext.plan.volume_rules import plan_volumes


def device(seconds_per_voxel=4e-6, bytes_per_voxel=2000.0):
    """A device on which a step's cost is in proportion to the voxels and to the width to the power 1.5."""

    def cost(width, crop, strides):
        load = math.prod(crop) * (width / 16) ** 1.5
        return load * seconds_per_voxel, 0.5 + load * bytes_per_voxel / 2**30

    return cost


def test_a_small_volume_is_taken_whole_and_a_faster_device_takes_a_wider_network(make_facts):
    facts = make_facts(shape=(35, 50, 36))
    slow, between, fast = (plan_volumes(facts, device(s), 800, 8) for s in (6e-6, 4e-6, 1e-6))
    for plan in (slow, between, fast):
        assert plan.crop == [32, 48, 32]
        assert plan.spacing is None
        assert plan.whole
    assert (slow.width, between.width, fast.width) == (16, 16, 32)  # 32 channels for 2000 steps, not for 1500
    assert slow.step_seconds * 1000 <= 800


def test_a_large_volume_becomes_coarser_on_a_slow_device(make_facts):
    facts = make_facts((2.0, 2.0, 3.0), (400, 400, 600), lesion_ml=(20.0, 50.0, 400.0))
    slow, fast = (plan_volumes(facts, device(s), 800, 8) for s in (6e-6, 1e-9))
    assert slow.spacing is not None
    assert 2 < min(slow.spacing) < 5  # eight voxels of 20 ml are 4.2 mm
    assert fast.spacing is not None  # its memory holds a smaller part
    assert min(fast.spacing) < min(slow.spacing)
    assert math.prod(fast.crop) > 8 * math.prod(slow.crop)
    assert not slow.whole


@pytest.mark.parametrize("memory", [1, 2, 8])
def test_within_memory(make_facts, memory):
    plan = plan_volumes(make_facts(shape=(300, 300, 300)), device(1e-9), 800, memory)
    assert plan.gibibytes <= memory


@pytest.mark.parametrize("shape", [(192, 192, 19), (400, 400, 24)])
def test_thick_slices(make_facts, shape):
    plan = plan_volumes(make_facts((0.5, 0.5, 3.0), shape, lesion_ml=(0.5, 0.9)), device(), 800, 8)
    assert plan.strides[0] == [2, 2, 1]  # the plane first
    steps = np.prod(plan.strides, axis=0)
    assert (np.array(plan.crop) % steps == 0).all()
