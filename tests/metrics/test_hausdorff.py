import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from monai_ext.metrics import hausdorff95


def surface(mask: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    padded = np.pad(mask, 1)
    edge = padded & ~ndimage.binary_erosion(padded)
    return np.argwhere(edge) * spacing


@pytest.mark.parametrize("spacing", [(0.5, 0.5), (3.0, 0.5, 1.25)])
def test_equals_all_pairs(spacing):
    rng = np.random.default_rng(0)
    shape = (3, *(14,) * len(spacing))
    pred, truth = (np.stack([ndimage.gaussian_filter(x, 1.5) > 0 for x in rng.normal(size=shape)]) for _ in range(2))
    expected = []
    for p, t in zip(pred, truth):
        a, b = surface(p, spacing), surface(t, spacing)
        distance = np.linalg.norm(a[:, None] - b[None], axis=-1)
        expected.append(max(np.percentile(distance.min(1), 95), np.percentile(distance.min(0), 95)))
    assert hausdorff95(torch.tensor(pred), torch.tensor(truth), spacing).tolist() == pytest.approx(expected, rel=1e-5)


def test_empty_masks():
    none, some = torch.zeros(6, 8), torch.eye(8)[:6]
    pred, truth = torch.stack([none, some, none, some]), torch.stack([none, none, some, some])
    assert hausdorff95(pred, truth, (2, 1)).isnan().tolist() == [True, True, True, False]
    penalized = hausdorff95(pred, truth, (2, 1), penalize_missing=True).tolist()
    assert math.isnan(penalized[0])
    assert penalized[1:] == pytest.approx([math.hypot(12, 8)] * 2 + [0])


def test_errors():
    some = torch.ones(1, 4, 4)
    with pytest.raises(ValueError, match="image dim"):
        hausdorff95(some, some, (1, 1, 1))
