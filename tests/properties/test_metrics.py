"""Properties of every overlap and surface metric, for all masks."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from monai_ext.metrics import boundary_iou, dice, hausdorff95, iou, surface_dice

FEW = settings(max_examples=40, deadline=None)
SPACING = (1.0, 2.0, 0.5)


def masks(ndim):
    shapes = st.tuples(*[st.integers(3, 7)] * ndim)
    return shapes.flatmap(lambda shape: st.tuples(*[arrays(bool, shape, fill=st.just(False))] * 2))


def both(pair):
    return [torch.from_numpy(np.ascontiguousarray(mask))[None] for mask in pair]


def same(one, other, tolerance=1e-5):
    return bool(torch.allclose(one, other, atol=tolerance, equal_nan=True))


@FEW
@given(pair=st.sampled_from([2, 3]).flatmap(masks), axis=st.integers(0, 1))
def test_overlap(pair, axis):
    pred, truth = both(pair)
    intersection, total = (pair[0] & pair[1]).sum(), pair[0].sum() + pair[1].sum()
    expected = 1.0 if total == 0 else 2 * intersection / total
    assert abs(float(dice(pred, truth)) - expected) < 1e-6
    for metric in (dice, iou, boundary_iou):
        value = metric(pred, truth)
        assert 0 <= float(value) <= 1
        assert same(value, metric(truth, pred))  # symmetric
        assert float(metric(pred, pred)) == 1
        assert same(value, metric(pred.flip(axis + 1), truth.flip(axis + 1)))
        only = metric(pred, truth, only_lesions=True)
        assert bool(only.isnan()) == (not pair[1].any())  # a truth without lesion does not count
    d, j = float(dice(pred, truth)), float(iou(pred, truth))
    assert abs(d - 2 * j / (1 + j)) < 1e-5


@FEW
@given(pair=masks(3), pad=st.integers(1, 3), factor=st.floats(0.5, 4))
def test_surfaces(pair, pad, factor):
    pred, truth = both(pair)
    found, present = pair[0].any(), pair[1].any()
    distance, agreement = hausdorff95(pred, truth, SPACING), surface_dice(pred, truth, SPACING)
    assert bool(distance.isnan()) == (not (found and present))
    assert bool(agreement.isnan()) == (not (found or present))
    if found != present:
        assert float(agreement) == 0
        diagonal = np.linalg.norm(np.array(pair[0].shape) * SPACING)
        assert abs(float(hausdorff95(pred, truth, SPACING, penalize_missing=True)) - diagonal) < 1e-3
        return
    if not found:
        return
    assert 0 <= float(distance) <= np.linalg.norm(np.array(pair[0].shape) * SPACING)
    assert -1e-6 <= float(agreement) <= 1 + 1e-6
    assert same(distance, hausdorff95(truth, pred, SPACING))
    assert float(hausdorff95(pred, pred, SPACING)) == 0
    assert abs(float(surface_dice(truth, truth, SPACING)) - 1) < 1e-6
    scaled = hausdorff95(pred, truth, [factor * mm for mm in SPACING])
    assert same(scaled, factor * distance, 1e-3)  # millimetres
    room = [torch.nn.functional.pad(mask, [pad, 0] * 3) for mask in (pred, truth)]
    roomier = [torch.nn.functional.pad(mask, [0, pad] * 3) for mask in (pred, truth)]
    assert same(hausdorff95(*room, SPACING), hausdorff95(*roomier, SPACING))  # the place in the image does not matter
