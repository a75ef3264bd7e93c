import itertools
import math

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_ext.metrics import dice, false_negative_volume, false_positive_volume


def components(mask: np.ndarray) -> list[set[tuple[int, ...]]]:
    """18-connected components by flood fill: steps that change one or two of the three coordinates by one."""
    steps = [s for s in itertools.product((-1, 0, 1), repeat=3) if 1 <= sum(map(abs, s)) <= 2]
    left, found = set(map(tuple, np.argwhere(mask))), []
    while left:
        front = [left.pop()]
        component = set(front)
        while front:
            voxel = front.pop()
            for step in steps:
                other = tuple(a + b for a, b in zip(voxel, step))
                if other in left:
                    left.remove(other)
                    component.add(other)
                    front.append(other)
        found.append(component)
    return found


def test_equals_flood_fill():
    rng = np.random.default_rng(0)
    pred, truth = (rng.random((4, 9, 8, 7)) < 0.06 for _ in range(2))
    spacing = (2.036, 2.036, 3.0)
    voxel = math.prod(spacing) / 1000
    for function, of, other in ((false_positive_volume, pred, truth), (false_negative_volume, truth, pred)):
        expected = [sum(len(c) for c in components(a) if not any(b[v] for v in c)) * voxel for a, b in zip(of, other)]
        assert min(expected) > 0
        found = function(torch.tensor(pred), torch.tensor(truth), spacing)
        assert found.tolist() == pytest.approx(expected, rel=1e-5)


def test_by_hand():
    """Voxels of 12 mm3: a lesion of 4^3 found one voxel off, one of 2^3 missed, and a false positive of 3^3."""
    truth, pred = torch.zeros(1, 20, 20, 20), torch.zeros(1, 20, 20, 20)
    truth[0, 2:6, 2:6, 2:6] = pred[0, 3:7, 2:6, 2:6] = 1
    truth[0, 12:14, 2:4, 2:4] = pred[0, 10:13, 12:15, 12:15] = 1
    assert dice(pred, truth).item() == pytest.approx(0.58896, abs=5e-6)
    assert false_positive_volume(pred, truth, (2, 2, 3)).item() == pytest.approx(0.324)
    assert false_negative_volume(pred, truth, (2, 2, 3)).item() == pytest.approx(0.096)


def test_connectivity():
    """A voxel that shares an edge belongs to the lesion, one that shares a corner does not."""
    truth = torch.zeros(2, 4, 4, 4)
    truth[:, 1, 1, 1] = 1
    pred = truth.clone()
    pred[0, 2, 2, 1] = 1
    pred[1, 2, 2, 2] = 1
    assert false_positive_volume(pred, truth, (10, 10, 10)).tolist() == [0, 1]


def test_empty_masks():
    none, some = torch.zeros(3, 3, 3), torch.ones(3, 3, 3)
    pred, truth = torch.stack([none, some, none]), torch.stack([none, none, some])
    assert false_positive_volume(pred, truth, (10, 10, 10)).tolist() == pytest.approx([0, 27, 0])
    assert false_negative_volume(pred, truth, (10, 10, 10)).isnan().tolist() == [True, True, False]
    counted = false_negative_volume(MetaTensor(pred), MetaTensor(truth), (10, 10, 10), empty=0)
    assert counted.tolist() == pytest.approx([0, 0, 27])


def test_errors():
    with pytest.raises(ValueError, match="3 spacings"):
        false_positive_volume(torch.ones(1, 4, 4), torch.ones(1, 4, 4), (1, 1))
