import pytest
import torch

from monai_ext.metrics import surface_dice

SPACING = (1.0, 2.0, 3.0)


def box(height: int) -> torch.Tensor:
    """24 x 24 x (3 * height) mm in voxels of 1 x 2 x 3 mm."""
    mask = torch.zeros(1, 40, 20, 24)
    mask[:, 8:32, 4:16, 4 : 4 + height] = 1
    return mask


def test_boxes_of_different_height():
    """Surfaces 6 mm apart on one side. Below that the disagreeing part is that side and the strip of wall between."""
    truth, pred = box(10), box(12)
    assert surface_dice(pred, truth, SPACING, tolerance=6.5).item() == pytest.approx(1)
    side, height, higher = 24 * 24, 30, 36
    total = (2 * side + 4 * 24 * height) + (2 * side + 4 * 24 * higher)
    expected = 1 - (2 * side + 4 * 24 * (higher - height - 1)) / total
    assert surface_dice(pred, truth, SPACING, tolerance=1).item() == pytest.approx(expected, abs=0.03)
    # The same boxes, had spacing been ignored: 2 voxels apart would be within a tolerance of 3.
    assert surface_dice(pred, truth, (1, 1, 1), tolerance=3).item() == pytest.approx(1)
    assert surface_dice(pred, truth, SPACING, tolerance=3).item() < 0.9


def test_empty_masks():
    none, some = box(0)[0], box(5)[0]
    pred, truth = torch.stack([none, some, none, some]), torch.stack([none, none, some, some])
    value = surface_dice(pred, truth, SPACING)
    assert value.isnan().tolist() == [True, False, False, False]
    assert value[1:].tolist() == [0, 0, 1]
