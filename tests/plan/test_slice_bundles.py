"""Grids of slices, and air."""

import numpy as np
import pytest

from monai_ext.plan.slice_bundles import air_share, slice_grid_size


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
