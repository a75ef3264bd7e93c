import pytest
import torch
from sklearn.metrics import recall_score

from monai_ext.metrics import sensitivity


def test_equals_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    pred, truth = (torch.rand(5, 7, 6, 4, generator=generator) < 0.4 for _ in range(2))
    expected = [recall_score(t.flatten(), p.flatten()) for t, p in zip(truth, pred)]
    assert sensitivity(pred, truth).tolist() == pytest.approx(expected, abs=1e-6)


def test_empty_masks():
    pred, truth = torch.tensor([[0, 1], [0, 0], [0, 0]]), torch.tensor([[0, 0], [1, 1], [0, 0]])
    assert sensitivity(pred, truth).isnan().tolist() == [True, False, True]
    assert sensitivity(pred, truth)[1] == 0
    with pytest.raises(ValueError, match="shape"):
        sensitivity(pred, truth[:2])
