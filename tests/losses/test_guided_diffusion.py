import pytest
import torch
import torch.nn.functional as F

from monai_ext.losses.guided_diffusion import DiffusionLoss, classifier_loss, noise_loss

ALPHAS = torch.linspace(0.99, 0.01, 50)
IMAGE = torch.randn(4, 1, 6, 6, generator=torch.Generator().manual_seed(0))
DOMAIN = torch.tensor([0, 1, 1, 0])


class Scheduler:
    num_train_timesteps = 50

    def add_noise(self, image, noise, t):
        a = ALPHAS[t].view(-1, 1, 1, 1)
        return a.sqrt() * image + (1 - a).sqrt() * noise


class Oracle:
    """Knows the images, so that the noise of what it sees is known."""

    scheduler, seen = Scheduler(), ()

    def predict_noise(self, x, t, domain):
        self.seen = (x, t, domain)
        a = ALPHAS[t].view(-1, 1, 1, 1)
        return (x - a.sqrt() * IMAGE) / (1 - a).sqrt()

    def classify(self, x, t):
        self.seen = (x, t, None)
        return torch.stack([x.mean((1, 2, 3)), t / 50], 1)


def generator():
    return torch.Generator().manual_seed(3)


def test_the_noise_that_was_added_costs_nothing():
    oracle = Oracle()
    assert noise_loss(oracle, IMAGE, DOMAIN, generator()).item() == pytest.approx(0, abs=1e-8)
    x, t, domain = oracle.seen
    assert domain is DOMAIN
    assert t.shape == (4,)
    assert not torch.equal(x, IMAGE)


def test_another_noise_costs_its_squared_distance():
    oracle = Oracle()
    exact = oracle.predict_noise
    oracle.predict_noise = lambda *a: exact(*a) + 0.5
    assert noise_loss(oracle, IMAGE, DOMAIN, generator()).item() == pytest.approx(0.25, rel=1e-4)


def test_classifier_sees_noised_images():
    oracle = Oracle()
    found = classifier_loss(oracle, IMAGE, DOMAIN, generator())
    x, t, _ = oracle.seen
    torch.testing.assert_close(found, F.cross_entropy(Oracle().classify(x, t), DOMAIN))


def test_sum_of_both_is_repeatable():
    first, second = (DiffusionLoss()(Oracle(), IMAGE, DOMAIN, generator()) for _ in range(2))
    assert first.keys() == {"loss", "noise", "classifier"}
    assert first["loss"] == first["noise"] + first["classifier"]
    assert first["loss"] == second["loss"]
