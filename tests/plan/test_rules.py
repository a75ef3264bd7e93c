import math

import numpy as np
import pytest

from monai_ext.plan.crop_bundles import channels_of
from monai_ext.plan.device_facts import parse_memory
from monai_ext.plan.intensity_rules import fixed_scales
from monai_ext.plan.schedule import schedule
from monai_ext.plan.settings import Plan, Setting
from monai_ext.plan.slice_bundles import air_share, slice_grid_size
from monai_ext.plan.volume_rules import plan_volumes


def device(seconds_per_voxel=4e-6, bytes_per_voxel=2000.0):
    """A device on which a step's cost is in proportion to the voxels and to the width to the power 1.5."""

    def cost(width, crop, strides):
        load = math.prod(crop) * (width / 16) ** 1.5
        return load * seconds_per_voxel, 0.5 + load * bytes_per_voxel / 2**30

    return cost


def test_a_small_volume_is_taken_whole_and_a_faster_device_takes_a_wider_network(make_facts):
    facts = make_facts(shape=(35, 50, 36))
    slow, fast = (plan_volumes(facts, device(s), 800, 8) for s in (6e-6, 1e-6))
    for plan in (slow, fast):
        assert plan.crop == [40, 56, 40]
        assert plan.spacing is None
        assert plan.whole
    assert (slow.width, fast.width) == (16, 32)
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


def test_schedule_fills_the_minutes():
    run = schedule(15, 0.5, 60)
    assert run.seconds <= 15 * 60
    assert run.seconds > 0.85 * 15 * 60
    assert run.epochs * run.iterations == run.steps
    assert run.few
    assert run.rate > schedule(600, 0.5, 60).rate
    assert schedule(0.1, 100, 1000).steps == 1
    assert schedule(1e6, 0.01, 0).steps == 250_000
    assert not schedule(1e6, 0.01, 0).few


@pytest.mark.parametrize(
    ("spacing", "shape", "lesion", "pixels", "mm", "size"),
    [
        ((2.0, 2.0), (128, 128), 70, 1e5, 2.0, [128, 128]),  # fits: the scan's own
        ((2.0, 2.0), (128, 128), 70, 64 * 64, 4.0, [64, 64]),  # 4 mm leave 17 pixels of the lesion
        ((2.0, 2.0), (128, 128), 48, 64 * 64, 2.667, [96, 96]),  # no coarser than 16 pixels of the lesion
        ((2.0, 2.0), (128, 128), 90, 52 * 52, 4.0, [64, 64]),  # 4.9 mm, but a multiple of 16 shows more
        ((1.0, 1.0), (150, 240), 70, 1e5, 1.0, [160, 240]),
    ],
)
def test_slices_show_the_whole_scan(spacing, shape, lesion, pixels, mm, size):
    found, grid = slice_grid_size(np.array([spacing] * 3), np.array([shape] * 3), lesion, pixels)
    assert found == [mm, mm]
    assert grid == size


def test_air_is_what_lies_below_the_tissue(make_facts):
    facts, rng = make_facts(), np.random.default_rng(0)
    for case in facts.cases:
        values = np.concatenate([rng.uniform(0, 8, 400), rng.normal(100, 10, 600)])
        case.outside["image"] = (values * rng.uniform(0.1, 50)).astype(np.float32)  # each scan has its own scale
    assert air_share(facts) == pytest.approx(0.4, abs=0.01)


def test_channels_double_up_to_320():
    assert channels_of(32, 5) == [32, 64, 128, 256, 320, 320]


@pytest.mark.parametrize(("text", "gib"), [("8G", 8), ("8GiB", 8), ("512M", 0.5), ("1t", 1024), (2**30, 1)])
def test_memory(text, gib):
    assert parse_memory(text) == pytest.approx(gib)


@pytest.mark.parametrize("text", ["", "G", "-3G", "8X", "1.2.3G"])
def test_no_memory(text):
    from monai_ext.errors import ConfigError

    with pytest.raises(ConfigError, match="memory"):
        parse_memory(text)


def test_overlay_and_table():
    plan = Plan([Setting("lr", 0.001, "few steps", 0.01), Setting("pretrain#lr", 0.002, "fewer", 0.002)], ["beware"])
    assert plan.overlay() == {"lr": 0.001, "pretrain": {"lr": 0.002}}
    table = plan.table().splitlines()
    assert table[1].split() == ["lr", "0.001", "0.01", "few", "steps"]
    assert table[2].split() == ["pretrain#lr", "0.002", "same", "fewer"]
    assert table[-1] == "warning: beware"
