import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, label

from monai_ext.metrics import lesion_candidates


def ball(shape, center, radius, value):
    grid = np.indices(shape)
    distance = np.sqrt(sum((g - c) ** 2 for g, c in zip(grid, center)))
    return np.where(distance <= radius, value, 0).astype(np.float32)


SHAPE = (12, 40, 40)


def test_two_lesions():
    probability = np.maximum(ball(SHAPE, (5, 10, 10), 3, 0.9), ball(SHAPE, (6, 28, 30), 4, 0.4))
    detection, indices, candidates = lesion_candidates(probability, spacing=(3.0, 0.5, 0.5))
    assert np.array_equal(detection, probability)
    assert [c.confidence for c in candidates] == [pytest.approx(0.9), pytest.approx(0.4)]
    assert candidates[0].center == pytest.approx((5, 10, 10))
    for c in candidates:
        assert c.num_voxels == (indices == c.index).sum()
        assert c.volume == pytest.approx(c.num_voxels * 0.75)


def test_eleven_voxels_are_the_smallest_lesion():
    for voxels, found in ((10, 0), (11, 1)):
        probability = np.zeros(SHAPE, np.float32)
        probability[3, 3, 3 : 3 + voxels] = 0.8
        assert len(lesion_candidates(probability)[2]) == found


def test_a_peak_in_a_speck_does_not_hide_the_lesion():
    """What `dynamic` gets wrong: the highest value lies in a part of at most ten voxels."""
    probability = ball(SHAPE, (5, 10, 10), 3, 0.3)
    probability[8, 30, 30] = 0.95
    _, _, candidates = lesion_candidates(probability)
    assert [c.confidence for c in candidates] == [pytest.approx(0.3)]


def test_empty_and_faint_maps_have_no_lesion():
    assert lesion_candidates(np.zeros(SHAPE))[2] == []
    assert lesion_candidates(np.full(SHAPE, 0.009))[2] == []


def test_result_is_a_detection_map():
    rng = np.random.default_rng(0)
    probability = np.clip((gaussian_filter(rng.random(SHAPE), (0.5, 2, 2)) - 0.5) * 8, 0, 1)
    detection, indices, candidates = lesion_candidates(probability)
    assert 1 < len(candidates) <= 5
    parts, count = label(detection, structure=np.ones((3, 3, 3)))
    assert count == len(candidates)
    for i in range(1, count + 1):
        assert len(np.unique(detection[parts == i])) == 1
    assert set(np.unique(indices)) == {0, *(c.index for c in candidates)}
    confidences = [c.confidence for c in candidates]
    assert confidences == sorted(confidences, reverse=True)


@pytest.mark.parametrize("seed", range(6))
def test_equals_report_guided_annotation(seed, capsys):
    reference = pytest.importorskip("report_guided_annotation", reason="the reference package is not installed")
    rng = np.random.default_rng(seed)
    probability = gaussian_filter(rng.random((8, 30, 30)), (0.5, 1 + seed / 3, 1 + seed / 3))
    probability = np.clip((probability - 0.45) * (seed + 1), 0, 1).astype(np.float32)
    if seed % 2:
        probability[2, 5, 5] = 1.0
    detection, confidences, indices = reference.extract_lesion_candidates(probability, threshold="dynamic-v2")
    found = lesion_candidates(probability)
    np.testing.assert_array_equal(found[0], detection)
    np.testing.assert_array_equal(found[1], indices)
    assert [(c.index, c.confidence) for c in found[2]] == [(i, pytest.approx(c)) for i, c in confidences]


@pytest.mark.parametrize("bad", [np.zeros((4, 4)), np.full((3, 3, 3), np.nan)])
def test_wrong_maps(bad):
    with pytest.raises(ValueError, match="finite"):
        lesion_candidates(bad)
