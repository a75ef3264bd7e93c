import numpy as np
import pytest
import torch

from monai_ext.metrics import lesion_uptake


def test_two_lesions_by_hand():
    mask, suv = np.zeros((8, 8, 8), bool), np.ones((8, 8, 8))
    mask[1:3, 1:3, 1] = True  # 4 voxels
    suv[1:3, 1:3, 1] = [[2, 4], [6, 8]]
    mask[5, 5, 5], mask[6, 6, 5] = True, True  # they share an edge: one lesion
    suv[5, 5, 5], suv[6, 6, 5] = 10, 12
    suv[0, 0, 0] = 99  # outside
    report = lesion_uptake(torch.from_numpy(mask), torch.from_numpy(suv), (2.0, 2.5, 4.0))  # 0.02 ml
    assert report["lesion_count"] == 2
    assert report["volume_ml"] == pytest.approx(0.12)
    assert report["suv_max"] == 12
    assert report["suv_mean"] == pytest.approx(42 / 6)
    assert report["tlg_ml"] == pytest.approx(42 * 0.02)
    first, second = report["lesions"]
    assert first.pop("peak_voxel") == [2, 2, 1]
    assert first == pytest.approx({"volume_ml": 0.08, "suv_max": 8, "suv_mean": 5, "tlg_ml": 0.4})
    assert second["peak_voxel"] == [6, 6, 5]
    assert second["tlg_ml"] == pytest.approx(second["suv_mean"] * second["volume_ml"])


def test_voxels_that_share_a_corner_are_two_lesions():
    mask = np.zeros((4, 4, 4))
    mask[1, 1, 1] = mask[2, 2, 2] = 1
    assert lesion_uptake(mask, np.ones((4, 4, 4)), (1, 1, 1))["lesion_count"] == 2


def test_sums_of_many_lesions_against_numpy():
    rng = np.random.default_rng(0)
    mask, suv = rng.random((20, 18, 16)) < 0.05, rng.gamma(2, 2, (20, 18, 16))
    report = lesion_uptake(mask, suv, (1.5, 1.5, 3))
    ml = 1.5 * 1.5 * 3 / 1000
    assert report["lesion_count"] == len(report["lesions"]) > 10
    assert report["tlg_ml"] == pytest.approx(suv[mask].sum() * ml)
    assert sum(one["tlg_ml"] for one in report["lesions"]) == pytest.approx(report["tlg_ml"])
    assert sum(one["volume_ml"] for one in report["lesions"]) == pytest.approx(mask.sum() * ml)
    assert max(one["suv_max"] for one in report["lesions"]) == report["suv_max"] == suv[mask].max()
    assert all(suv[tuple(one["peak_voxel"])] == one["suv_max"] for one in report["lesions"])
    volumes = [one["volume_ml"] for one in report["lesions"]]
    assert volumes == sorted(volumes, reverse=True)


def test_no_lesion():
    report = lesion_uptake(np.zeros((3, 3, 3)), np.ones((3, 3, 3)), (1, 1, 1))
    nothing = {"lesion_count": 0, "volume_ml": 0, "suv_max": None, "suv_mean": None, "tlg_ml": 0, "lesions": []}
    assert report == nothing


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\(3, 3, 3\) and \(3, 3, 4\)"):
        lesion_uptake(np.zeros((3, 3, 3)), np.zeros((3, 3, 4)), (1, 1, 1))
