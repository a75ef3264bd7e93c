import numpy as np
import pytest

from monai_ext.plan.geometry import coarsen, crop_size, median_shape, strides_of, target_spacing


@pytest.mark.parametrize(
    ("spacing", "patch", "pools"),
    [  # nnU-Net's published plans of the Medical Segmentation Decathlon, its axes Z, Y, X
        ([1, 1, 1], [128, 128, 128], [5, 5, 5]),  # BraTS
        ([1.37, 1.25, 1.25], [80, 192, 160], [4, 5, 5]),  # heart
        ([1, 1, 1], [40, 56, 40], [3, 3, 3]),  # hippocampus
        ([3.6, 0.62, 0.62], [20, 320, 256], [2, 6, 6]),  # prostate
        ([1.24, 0.79, 0.79], [80, 192, 160], [4, 5, 5]),  # lung
        ([2.5, 0.8, 0.8], [40, 224, 224], [3, 5, 5]),  # pancreas
        ([1.5, 0.8, 0.8], [64, 192, 192], [4, 5, 5]),  # hepatic vessel
        ([1.6, 0.79, 0.79], [64, 192, 160], [4, 5, 5]),  # spleen
        ([3, 0.78, 0.78], [56, 192, 160], [3, 5, 5]),  # colon
    ],
)
def test_strides_are_those_of_published_plans(spacing, patch, pools):
    strides = np.array(strides_of(spacing, patch, max_levels=6))
    assert (strides == 2).sum(0).tolist() == pools


def test_spacing_is_the_median_or_the_tenth_percentile_of_thick_slices():
    shapes = np.tile([320.0, 320, 20], (11, 1))
    spacings = np.array([[0.6 + 0.01 * i, 0.6 + 0.01 * i, 3 + 0.1 * i] for i in range(11)])
    assert target_spacing(spacings, shapes) == pytest.approx((0.65, 0.65, 3.1))
    many = np.tile([320.0, 320, 200], (11, 1))  # thick slices but many of them
    assert target_spacing(spacings, many) == pytest.approx((0.65, 0.65, 3.5))
    even = np.array([[1.0, 1.0, 1.0], [1.2, 1.0, 1.4], [1.1, 1.0, 1.2]])
    assert target_spacing(even, shapes[:3]) == pytest.approx((1.1, 1.0, 1.2))


def test_cases_of_one_spacing_stay_on_their_grid():
    assert target_spacing(np.full((4, 3), 1.0), np.full((4, 3), 40.0)) is None
    assert median_shape(np.full((3, 3), 2.0), np.array([[10, 20, 30]] * 3), (4, 4, 4)).tolist() == [5, 10, 15]


def test_a_small_volume_is_taken_whole():
    """nnU-Net's crop of the hippocampus, 40 x 56 x 40, is the median case rounded up: 42 % of it are padding."""
    size, strides = crop_size([1, 1, 1], [35, 50, 35], 1e6)
    assert size == [32, 48, 32]
    assert strides == [[2, 2, 2]] * 3
    assert crop_size([1, 1, 1], [36, 53, 37], 1e6)[0] == [32, 56, 40]


@pytest.mark.parametrize("shape", [(400, 400, 600), (512, 512, 24), (60, 400, 90), (35, 35, 35), (1, 300, 300)])
@pytest.mark.parametrize("limit", [2e4, 1e5, 2e6])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.5, 3.0), (3.0, 0.7, 0.7)])
def test_crops_fit_divide_and_are_of_the_shape_of_the_case(shape, limit, spacing):
    size, strides = crop_size(spacing, shape, limit)
    assert np.prod(size) <= limit
    steps = np.prod(np.array(strides).reshape(-1, 3), axis=0)
    assert (np.array(size) % steps == 0).all()
    assert all(n < length + step for n, length, step in zip(size, shape, steps))  # no more than the padding
    if np.prod(shape) > limit:
        assert np.prod(size) > limit / 8  # and not needlessly small


def test_coarser_only_as_far_as_a_crop_needs_and_structures_allow():
    assert coarsen([1, 1, 1], [40, 40, 40], 20_000, 5) == ([1, 1, 1], [40, 40, 40])
    mm, shape = coarsen([2, 2, 3], [200, 200, 300], 200_000, 8)
    assert np.prod(shape) * 0.25 == pytest.approx(200_000, rel=0.1)
    assert max(mm) < 1.5 * min(mm)
    assert np.array(mm) * shape == pytest.approx([400, 400, 900], rel=0.01)
    assert min(coarsen([2, 2, 2], [200, 200, 300], 1000, 4)[0]) == pytest.approx(4, rel=0.04)
