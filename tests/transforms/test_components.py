"""Components of a mask, beside a flood fill that is written here."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_ext.transforms import KeepComponentsd
from monai_ext.transforms.components import keep_components


def flooded(mask, voxel_ml, min_ml, largest):
    """The same by a flood fill from voxel to voxel."""
    kept = np.zeros_like(mask)
    for label in set(np.unique(mask)) - {0}:
        left = {tuple(v) for v in np.argwhere(mask == label)}
        parts = []
        while left:
            edge = [left.pop()]
            part = list(edge)
            while edge:
                x, y, z = edge.pop()
                near = [(x + i, y + j, z + k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)]
                found = left.intersection(near)
                left -= found
                edge += found
                part += found
            parts.append(part)
        most = max(map(len, parts))
        for part in parts:
            if len(part) * voxel_ml >= min_ml - 1e-9 and (not largest or len(part) == most):
                kept[tuple(np.array(part).T)] = label
    return kept


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("min_ml", "largest"), [(0, False), (0.6, False), (0, True), (0.6, True)])
def test_as_a_flood_fill(seed, min_ml, largest):
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 4, (9, 8, 7)) * (rng.random((9, 8, 7)) < 0.16)
    expected = flooded(mask, 0.2, min_ml, largest)
    found = keep_components(mask, 0.2, min_ml, largest)
    if not largest:
        np.testing.assert_array_equal(found, expected)
    for label in (1, 2, 3) if largest else ():  # of equal ones any may stay
        sizes = (found == label).sum(), (expected == label).sum()
        assert sizes[0] <= sizes[1]
        assert (expected[found == label] == label).all()
        assert (sizes[0] > 0) == (sizes[1] > 0)


def test_volumes_are_of_the_scans_own_voxels():
    mask = torch.zeros(1, 10, 4, 4)
    mask[0, :5, 1, 1], mask[0, 7, 1, 1] = 1, 1
    affine = torch.diag(torch.tensor([10.0, 10, 10, 1]))  # a voxel is a millilitre
    item = {"pred": MetaTensor(mask, affine=affine, meta={"filename_or_obj": "p1"})}
    for min_ml, voxels in ((0, 6), (1, 6), (1.01, 5), (5, 5), (5.01, 0)):
        found = KeepComponentsd("pred", min_ml=min_ml)(item)["pred"]
        assert int(found.sum()) == voxels
        assert torch.equal(found.affine, affine.double())
        assert found.meta["filename_or_obj"] == "p1"
    assert int(KeepComponentsd("pred", largest=True)(item)["pred"].sum()) == 5
    assert int(item["pred"].sum()) == 6


def test_an_empty_mask_stays_empty():
    assert not keep_components(np.zeros((3, 3, 3), int), 1.0, 1.0, True).any()
