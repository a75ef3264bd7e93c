import pytest
import torch
from monai.data import MetaTensor
from monai.metrics import compute_dice, compute_iou
from sklearn.metrics import f1_score, jaccard_score

from monai_ext.metrics import foreground, overlap


def test_equals_scikit_learn_and_monai():
    generator = torch.Generator().manual_seed(0)
    share = torch.tensor([0.05, 0.3, 0.7, 0.95])[:, None, None]
    pred, truth = (torch.rand(4, 11, 13, generator=generator) < share for _ in range(2))
    dice, iou = overlap(pred, truth)
    for b in range(4):
        flat = truth[b].flatten().numpy(), pred[b].flatten().numpy()
        assert dice[b].item() == pytest.approx(f1_score(*flat), abs=1e-6)
        assert iou[b].item() == pytest.approx(jaccard_score(*flat), abs=1e-6)
    torch.testing.assert_close(dice, compute_dice(pred[:, None].float(), truth[:, None].float())[:, 0])
    torch.testing.assert_close(iou, compute_iou(pred[:, None].float(), truth[:, None].float())[:, 0])


def test_empty_masks():
    none, some = torch.zeros(2, 2), torch.ones(2, 2)
    pred, truth = torch.stack([none, some, none]), torch.stack([none, none, some])
    for value in overlap(pred, truth):
        assert value.tolist() == [1, 0, 0]
    for value in overlap(pred, truth, only_lesions=True):
        assert value.isnan().tolist() == [True, True, False]
        assert value[2] == 0


def test_foreground_of_every_form():
    index = torch.tensor([0, 1, 2, 0]).reshape(1, 1, 2, 2)
    expected = torch.tensor([[[False, True], [True, False]]])
    one_hot = torch.nn.functional.one_hot(index[:, 0], 3).movedim(-1, 1)
    for form in (index, index.float(), index.bool(), one_hot, one_hot.bool(), MetaTensor(index.float()), index * 0.6):
        found = foreground(form)
        assert torch.equal(found, expected)
        assert type(found) is torch.Tensor


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\(1, 4\) and \(1, 5\)"):
        overlap(torch.ones(1, 4), torch.ones(1, 5))
