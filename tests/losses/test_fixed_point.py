import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from monai_ext.losses import (
    FixedPointDiscriminatorLoss,
    FixedPointGeneratorLoss,
    gradient_penalty,
    other_domain,
)
from monai_ext.networks.nets import FixedPointDiscriminator, FixedPointGenerator


def shift(image, domain):
    """A generator that can be computed by hand: domain 0 adds 1, domain 1 subtracts 2."""
    return image + torch.tensor([1.0, -2.0])[domain].view(-1, 1, 1, 1)


def judge(image):
    """Critic value = the image itself (one patch per pixel), domain logits = (0, mean)."""
    mean = image.mean((1, 2, 3))
    return image, torch.stack([torch.zeros_like(mean), mean], 1)


def cross_entropy(mean, domain):
    return math.log(1 + math.exp(mean)) - (mean if domain == 1 else 0.0)


def test_generator_loss_by_hand():
    image = torch.tensor([[1.0, 3.0], [0.0, -2.0]]).view(2, 1, 1, 2)  # means 2 and -1
    domain = torch.tensor([0, 1])
    terms = FixedPointGeneratorLoss(identity_weight=0.5, adversarial_weight=0.25)(shift, judge, image, domain)
    # First image: to domain 1 its mean is 0, to its own it is 3. Second: to domain 0 it is 0, to its own -3.
    cross, same = [0.0, 0.0], [3.0, -3.0]
    adversarial = -(sum(cross) / 2 + sum(same) / 2)
    domain_error = (cross_entropy(0, 1) + cross_entropy(0, 0)) / 2 + (cross_entropy(3, 0) + cross_entropy(-3, 1)) / 2
    # Ways back: 1 -2 + 1 = -1 off for the first, 1 - 2 = -1 off for the second; same-domain +2 and -4.
    cycle = (1 + 1) / 2 + (2 + 4) / 2
    identity = (1 + 2) / 2
    assert terms["adversarial"] == pytest.approx(adversarial)
    assert terms["domain"] == pytest.approx(domain_error)
    assert terms["cycle"] == pytest.approx(cycle)
    assert terms["identity"] == pytest.approx(identity)
    assert terms["loss"] == pytest.approx(0.25 * adversarial + domain_error + 10 * cycle + 0.5 * identity)
    assert set(terms) == {"loss", *FixedPointGeneratorLoss.terms}


def test_a_change_costs_where_it_is_weighed():
    image, domain = torch.tensor([[1.0, 3.0], [0.0, -2.0]]).view(2, 1, 1, 2), torch.tensor([0, 1])
    plain = FixedPointGeneratorLoss(identity_weight=0.5)(shift, judge, image, domain)
    loss = FixedPointGeneratorLoss(identity_weight=0.5, change_weight=4.0)
    found = loss(shift, judge, image, domain)
    # The first goes to domain 1, 2 lower; the second to domain 0, 1 higher.
    assert found["loss"] - plain["loss"] == pytest.approx(4 * (2 + 1) / 2)


def test_hubers_norm_is_quadratic_below_its_bound_and_linear_above():
    image, domain = torch.tensor([[1.0, 3.0], [0.0, -2.0]]).view(2, 1, 1, 2), torch.tensor([0, 1])
    plain = FixedPointGeneratorLoss(cycle_weight=0, identity_weight=0)(shift, judge, image, domain)

    def huber(d, b):
        return d**2 / (2 * b) if d < b else d - b / 2

    for b in (1.5, 4.0):
        loss = FixedPointGeneratorLoss(cycle_weight=3, identity_weight=5, change_weight=7, huber=b)
        found = loss(shift, judge, image, domain)
        # The differences by hand are those of the two tests above.
        cycle = (huber(1, b) + huber(1, b)) / 2 + (huber(2, b) + huber(4, b)) / 2
        identity = (huber(1, b) + huber(2, b)) / 2
        change = (huber(2, b) + huber(1, b)) / 2
        assert found["cycle"] == pytest.approx(cycle)
        assert found["identity"] == pytest.approx(identity)
        assert found["loss"] - plain["loss"] == pytest.approx(3 * cycle + 5 * identity + 7 * change)


def test_hubers_norm_does_not_hold_a_generator_that_is_the_identity():
    """The gradient of the L1 norm beside a residual of zero is as large as anywhere, Huber's is next to nothing."""
    image, domain = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1])
    for huber, expected in ((0.0, 12 + 3), (0.2, (12 + 3) * 1e-4 / 0.2)):
        residual = torch.full((), 1e-4, requires_grad=True)
        loss = FixedPointGeneratorLoss(
            cycle_weight=0, identity_weight=12, change_weight=3, adversarial_weight=0, domain_weight=0, huber=huber
        )
        loss(lambda x, c, r=residual: x + r, judge, image, domain)["loss"].backward()
        assert residual.grad.item() == pytest.approx(expected, rel=1e-2)


def test_discriminator_loss_by_hand():
    image = torch.tensor([[1.0, 3.0], [0.0, -2.0]]).view(2, 1, 1, 2)
    domain = torch.tensor([0, 1])
    # Every draw of targets is one of four; the critic term is the mean of the shifts that were drawn.
    terms = FixedPointDiscriminatorLoss()(shift, judge, image, domain, torch.Generator().manual_seed(1))
    assert min(abs(terms["critic"].item() - c) for c in (1.0, -0.5, -2.0)) < 1e-6
    domain_error = (cross_entropy(2, 0) + cross_entropy(-1, 1)) / 2
    # The sum of the two pixels has gradient (1, 1), of norm sqrt(2), everywhere.
    penalty = (math.sqrt(2) - 1) ** 2
    assert terms["domain"] == pytest.approx(domain_error)
    assert terms["penalty"] == pytest.approx(penalty)
    assert terms["loss"] == pytest.approx(terms["critic"] + domain_error + 10 * penalty)
    assert set(terms) == {"loss", *FixedPointDiscriminatorLoss.terms}


def test_fixed_points_cost_nothing():
    def stay(image, domain):
        return image

    terms = FixedPointGeneratorLoss()(stay, judge, torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 0, 1]))
    assert terms["identity"] == 0
    assert terms["cycle"] == 0


def test_gradient_penalty_equals_finite_differences():
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Conv2d(3, 1, 2)).double()
    real, fake = torch.rand(3, 1, 5, 5), torch.rand(3, 1, 5, 5)
    seen = []

    def spy(x):
        seen.append(x.detach())
        return critic(x.double())

    penalty = gradient_penalty(spy, real, fake, torch.Generator().manual_seed(3))
    point, step = seen[0].double(), 1e-5
    # On the segment between real and fake, at one share per sample.
    share = (point - fake) / (real - fake)
    torch.testing.assert_close(share.amax((1, 2, 3)), share.amin((1, 2, 3)), rtol=1e-3, atol=1e-3)
    assert share.min() >= 0
    assert share.max() <= 1
    gradient = torch.zeros_like(point)
    for i in range(point[0].numel()):
        e = torch.zeros(point[0].numel(), dtype=torch.float64)
        e[i] = step
        e = e.view(1, 1, 5, 5)
        difference = (critic(point + e) - critic(point - e)).sum((1, 2, 3)) / (2 * step)
        gradient.view(3, -1)[:, i] = difference
    expected = (gradient.flatten(1).norm(dim=1) - 1).square().mean()
    assert penalty.item() == pytest.approx(expected.item(), rel=1e-5)

    # And its own gradient, with respect to a weight of the critic (the second derivative).
    weight = critic[0].weight
    (analytic,) = torch.autograd.grad(penalty, weight)
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[0, 0, 0, 0] += sign * step
        values.append(gradient_penalty(spy, real, fake, torch.Generator().manual_seed(3)).item())
        with torch.no_grad():
            weight[0, 0, 0, 0] -= sign * step
    assert analytic[0, 0, 0, 0].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-2, abs=1e-3)


def test_gradient_penalty_vanishes_for_a_unit_slope():
    direction = F.normalize(torch.randn(16), dim=0).view(1, 1, 4, 4)
    penalty = gradient_penalty(lambda x: (x * direction).sum((1, 2, 3)), torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4))
    assert penalty.item() == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("num_domains", [2, 4])
def test_other_domain_is_another_one(num_domains):
    domain = torch.arange(num_domains).repeat(200)
    drawn = other_domain(domain, num_domains, torch.Generator().manual_seed(0))
    assert (drawn != domain).all()
    assert ((drawn >= 0) & (drawn < num_domains)).all()
    assert len(drawn[domain == 0].unique()) == num_domains - 1


def test_gradients_go_where_they_should():
    generator = FixedPointGenerator(channels=4, num_blocks=1, start_as_identity=False)
    discriminator = FixedPointDiscriminator(64, channels=4)
    image, domain = torch.rand(2, 1, 64, 64), torch.tensor([0, 1])
    FixedPointDiscriminatorLoss()(generator, discriminator, image, domain)["loss"].backward()
    assert all(p.grad is None for p in generator.parameters())
    assert all(p.grad.abs().sum() > 0 for p in discriminator.parameters())
    FixedPointGeneratorLoss()(generator, discriminator, image, domain)["loss"].backward()
    assert all(p.grad.abs().sum() > 0 for p in generator.parameters())


def test_the_batched_passes_equal_the_loop_of_the_paper():
    """One pass for both translations gives what the paper's four separate terms give."""
    torch.manual_seed(0)
    g = FixedPointGenerator(channels=4, num_blocks=1, start_as_identity=False)
    d = FixedPointDiscriminator(64, channels=4)
    x, own, other = torch.rand(3, 1, 64, 64) * 2 - 1, torch.tensor([0, 1, 0]), torch.tensor([1, 0, 1])
    expected = 0.0
    for target in (other, own):
        y = g(x, target)
        value, logits = d(y)
        expected = expected - value.mean() + F.cross_entropy(logits, target) + 10 * (g(y, own) - x).abs().mean()
    expected = expected + 10 * (g(x, own) - x).abs().mean()
    torch.testing.assert_close(FixedPointGeneratorLoss()(g, d, x, own)["loss"], expected, rtol=1e-4, atol=1e-4)
