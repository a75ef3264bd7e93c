import numpy as np
import pytest
import torch

from monai_ext.losses import FocalDiceLoss


def eq3_numpy(logits, label, alpha=0.25, gamma=2.0, eps=1e-5):
    """Eq. 3 to 5 of the paper, written out."""
    z = np.exp(logits - logits.max(1, keepdims=True))
    p = z / z.sum(1, keepdims=True)
    p_true = np.take_along_axis(p, label, 1)
    focal = (alpha * (1 - p_true) ** gamma * -np.log(p_true)).mean()
    dice = 2.0
    for c in range(2):
        y = label[:, 0] == c
        dice -= (2 * (p[:, c] * y).sum() + eps) / (p[:, c].sum() + y.sum() + eps)
    return 0.5 * focal + 0.5 * dice


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3])
def test_equals_eq3(share):
    torch.manual_seed(0)
    logits, label = torch.randn(4, 2, 22, 22) * 3, (torch.rand(4, 1, 22, 22) < share).long()
    expected = eq3_numpy(logits.double().numpy(), label.numpy())
    assert FocalDiceLoss()(logits, label).item() == pytest.approx(expected, abs=1e-6)


def test_perfect_prediction_and_gradient():
    label = (torch.rand(2, 1, 8, 8) < 0.3).long()
    perfect = torch.cat([1 - label, label], 1) * 200.0 - 100
    assert FocalDiceLoss()(perfect, label).item() == pytest.approx(0, abs=1e-6)
    logits = torch.zeros(2, 2, 8, 8, requires_grad=True)
    FocalDiceLoss()(logits, label).backward()
    assert (logits.grad[:, 1][label[:, 0] == 1] < 0).all()  # more lesion where there is lesion
