import numpy as np
import pytest
import torch
from scipy import ndimage

from monai_ext.metrics import boundary_distance, boundary_iou, iou
from monai_ext.metrics.boundary_iou import inner_boundary


def blobs(shape: tuple[int, ...], seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=shape)
    return ndimage.gaussian_filter(noise, 4) > 0


def rim(mask: np.ndarray, distance: int) -> np.ndarray:
    """By erosion with a full 3 x 3 (x 3) square, as often as the distance says."""
    square = np.ones((3,) * mask.ndim)
    return mask & ~ndimage.binary_erosion(mask, square, iterations=distance, border_value=0)


@pytest.mark.parametrize("shape", [(40, 33), (18, 16, 14)])
@pytest.mark.parametrize("distance", [1, 3])
def test_equals_scipy(shape, distance):
    pred, truth = (np.stack([blobs(shape, seed + offset) for seed in range(3)]) for offset in (0, 10))
    assert any(rim(t, distance).sum() < t.sum() for t in truth)  # there is more than a rim
    expected = []
    for p, t in zip(pred, truth):
        a, b = rim(p, distance), rim(t, distance)
        expected.append((a & b).sum() / (a | b).sum())
    assert boundary_iou(torch.tensor(pred), torch.tensor(truth), distance).tolist() == pytest.approx(expected, abs=1e-6)


def test_rim_of_each_slice():
    volume = np.stack([blobs((20, 22), seed) for seed in range(4)], axis=-1)
    found = inner_boundary(torch.tensor(volume)[None], (2, 2, 0))[0].numpy()
    for z in range(4):
        np.testing.assert_array_equal(found[..., z], rim(volume[..., z], 2))


def test_by_hand():
    """Two 10 x 10 squares, one pixel apart: rims of 36 pixels with 18 in common, so 18 / 54; plain IoU is 90 / 110."""
    truth = torch.zeros(1, 30, 30)
    truth[:, 5:15, 5:15] = 1
    pred = truth.roll(1, dims=1)
    assert boundary_iou(pred, truth, 1).item() == pytest.approx(18 / 54)
    assert iou(pred, truth).item() == pytest.approx(90 / 110)


def test_default_distance():
    assert [boundary_distance((n, n)) for n in (10, 88, 144, 160)] == [1, 2, 4, 5]
    truth = torch.tensor(blobs((144, 144), 0))[None]
    pred = torch.tensor(blobs((144, 144), 1))[None]
    assert boundary_iou(pred, truth) == boundary_iou(pred, truth, 4)


def test_empty_masks():
    none, some = torch.zeros(6, 6), torch.ones(6, 6)
    pred, truth = torch.stack([none, some, none]), torch.stack([none, none, some])
    assert boundary_iou(pred, truth).tolist() == [1, 0, 0]
    assert boundary_iou(pred, truth, only_lesions=True).isnan().tolist() == [True, True, False]
