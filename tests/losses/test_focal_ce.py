import numpy as np
import pytest
import torch
import torch.nn.functional as F

from monai_ext.losses import FocalCELoss


@pytest.mark.parametrize(("alpha", "gamma"), [(0.5, 2.0), (0.75, 2.0), (0.5, 0.0)])
def test_equals_the_formula(alpha, gamma):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 2, 5, 4, 3, generator=generator)
    label = (torch.rand(2, 1, 5, 4, 3, generator=generator) > 0.7).to(torch.uint8)
    p = torch.softmax(logits.double(), 1).numpy()
    true = np.where(label.numpy()[:, 0] > 0, p[:, 1], p[:, 0])
    weight = np.where(label.numpy()[:, 0] > 0, alpha, 1 - alpha)
    expected = np.mean(-weight * (1 - true) ** gamma * np.log(true) - np.log(true))
    assert float(FocalCELoss(alpha, gamma)(logits, label)) == pytest.approx(expected, rel=1e-5)


def test_without_the_focal_part_it_is_cross_entropy():
    logits = torch.randn(1, 2, 4, 4, 4)
    label = torch.randint(2, (1, 1, 4, 4, 4))
    loss = FocalCELoss(focal_weight=0.0)(logits, label)
    assert torch.allclose(loss, F.cross_entropy(logits, label[:, 0]))


def test_gradient_is_finite_where_the_network_is_sure():
    logits = torch.tensor([100.0, -100.0]).view(1, 2, 1, 1, 1).repeat(1, 1, 2, 2, 2).requires_grad_()
    for value in (0, 1):
        label = torch.full((1, 1, 2, 2, 2), value)
        (gradient,) = torch.autograd.grad(FocalCELoss()(logits, label), logits)
        assert torch.isfinite(gradient).all()
