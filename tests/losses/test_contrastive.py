import numpy as np
import pytest
import torch
from monai.losses import ContrastiveLoss

from monai_ext.losses.contrastive import byol_loss, sinkhorn, swav_loss


def vectors(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("batch", "temperature"), [(2, 0.1), (5, 0.5), (8, 1.0)])
def test_the_loss_of_simclr_is_its_eq_1(batch, temperature):
    a, b = vectors(batch, 7), vectors(batch, 7, seed=1)
    z = np.concatenate([a, b]).astype(float)

    def similarity(i, j):
        return np.exp(z[i] @ z[j] / np.linalg.norm(z[i]) / np.linalg.norm(z[j]) / temperature)

    n, terms = 2 * batch, []
    for i in range(n):
        j = (i + batch) % n
        terms.append(-np.log(similarity(i, j) / sum(similarity(i, k) for k in range(n) if k != i)))
    assert ContrastiveLoss(temperature)(a, b).item() == pytest.approx(np.mean(terms), rel=1e-5)


def test_byol_is_the_squared_distance_of_unit_vectors_and_the_target_learns_nothing():
    p, t = vectors(6, 5).requires_grad_(), vectors(6, 5, seed=1).requires_grad_()
    unit = [v.detach().numpy() / np.linalg.norm(v.detach().numpy(), axis=1, keepdims=True) for v in (p, t)]
    loss = byol_loss(p, t)
    assert loss.item() == pytest.approx(((unit[0] - unit[1]) ** 2).sum(1).mean(), rel=1e-5)
    loss.backward()
    assert p.grad.abs().sum() > 0
    assert t.grad is None


def test_sinkhorn_is_the_entropic_transport_plan():
    """The plan is diag(u) exp(S / eps) diag(v) with the marginals 1 / B and 1 / K; Knopp's algorithm in NumPy."""
    scores, epsilon = vectors(12, 4) * 0.1, 0.05
    plan = sinkhorn(scores, epsilon, iterations=200)
    np.testing.assert_allclose(plan.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(plan.sum(0), 12 / 4, atol=1e-4)
    kernel = np.exp(scores.numpy().astype(float) / epsilon)
    u, v = np.ones(12), np.ones(4)
    for _ in range(500):
        v = (1 / 4) / (kernel.T @ u)
        u = (1 / 12) / (kernel @ v)
    np.testing.assert_allclose(plan.numpy() / 12, u[:, None] * kernel * v, atol=1e-5)
    assert torch.isfinite(sinkhorn(scores * 1e4)).all()


def test_swav_swaps_the_codes():
    a, b = vectors(6, 3) * 0.2, vectors(6, 3, seed=1) * 0.2
    log_p = [(s.numpy() / 0.1 - np.log(np.exp(s.numpy() / 0.1).sum(1, keepdims=True))) for s in (a, b)]
    expected = -((sinkhorn(b).numpy() * log_p[0]).sum(1) + (sinkhorn(a).numpy() * log_p[1]).sum(1)).mean() / 2
    assert swav_loss(a, b).item() == pytest.approx(expected, rel=1e-5)
