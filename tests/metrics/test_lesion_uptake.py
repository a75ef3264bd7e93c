import numpy as np
import pytest
import torch

from monai_ext.metrics import lesion_uptake, numbered_lesions, suv_peak


def peak_by_hand(suv, where, spacing):
    """The best mean over all centres in the lesion, voxel by voxel; a sphere of 1 cm3 has a radius of 6.2035 mm."""
    places = np.argwhere(np.ones(suv.shape)) * spacing
    values = suv.reshape(-1)
    return max(
        values[((places - centre * np.array(spacing)) ** 2).sum(1) <= 6.2035**2].mean() for centre in np.argwhere(where)
    )


@pytest.mark.parametrize("spacing", [(5.0, 5.0, 5.0), (4.07, 4.07, 3.0), (2.0, 2.0, 3.0), (7.0, 7.0, 7.0)])
def test_suv_peak_against_all_spheres(spacing):
    rng = np.random.default_rng(0)
    suv = rng.gamma(2, 2, (9, 8, 10))
    for where in (suv > np.quantile(suv, 0.97), np.indices(suv.shape).sum(0) == 0):  # spread, and in a corner
        assert suv_peak(suv, where, spacing) == pytest.approx(peak_by_hand(suv, where, spacing))


def test_suv_peak_lies_between_mean_and_maximum_of_a_blurred_lesion_and_is_not_bound_to_its_hottest_voxel():
    grid = np.indices((30, 30, 30)).astype(float)
    blob = 10 * np.exp(-((grid - 15) ** 2).sum(0) / (2 * 4**2))
    spike = blob.copy()
    spike[22, 15, 15] = 11.0  # noise at the rim: SUVmax, but no hot sphere
    report = lesion_uptake(blob > 1, spike, (2, 2, 2))
    assert report["suv_max"] == 11
    assert report["suv_peak"] == pytest.approx(peak_by_hand(blob, blob == blob.max(), (2, 2, 2)))
    assert report["suv_mean"] < report["suv_peak"] < 10


def test_lesions_are_numbered_by_size_and_then_by_the_order_of_the_file():
    mask = np.array([1, 1, 0, 1, 0, 1, 1, 1, 0, 1]).reshape(10, 1, 1)
    assert numbered_lesions(mask).ravel().tolist() == [2, 2, 0, 3, 0, 1, 1, 1, 0, 4]
    report = lesion_uptake(mask, np.arange(10.0).reshape(10, 1, 1), (1, 1, 1))
    assert [one["number"] for one in report["lesions"]] == [1, 2, 3, 4]
    assert [one["peak_voxel"][0] for one in report["lesions"]] == [7, 1, 3, 9]


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
    assert first.pop("suv_peak") == pytest.approx(peak_by_hand(suv, numbered_lesions(mask) == 1, (2.0, 2.5, 4.0)))
    assert first == pytest.approx({"number": 1, "volume_ml": 0.08, "suv_max": 8, "suv_mean": 5, "tlg_ml": 0.4})
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
    nothing = {"lesion_count": 0, "volume_ml": 0, "tlg_ml": 0, "lesions": []}
    assert report == nothing | dict.fromkeys(("suv_max", "suv_peak", "suv_mean"))


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\(3, 3, 3\) and \(3, 3, 4\)"):
        lesion_uptake(np.zeros((3, 3, 3)), np.zeros((3, 3, 4)), (1, 1, 1))
