import math

import pytest
import torch
import torch.nn.functional as F
from monai.networks.nets.diffusion_model_unet import DiffusionModelEncoder, DiffusionModelUNet
from torch import nn

from monai_ext.losses import classifier_loss, noise_loss
from monai_ext.networks.nets import GuidedDiffusion

BETAS = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
ABAR = (1 - BETAS).cumprod(0)
HEALTHY, DISEASED, SPREAD = -0.5, 0.5, 0.2


def wide(values, x):
    return values.view(-1, *[1] * (x.ndim - 1))


class Mixture(nn.Module):
    """The exact noise predictor of images whose single pixel is healthy (-0.5) or diseased (0.5), +- 0.2.

    At noise level a = alpha-bar each class is a Gaussian of mean sqrt(a) m and variance a s^2 + 1 - a. ``only`` keeps
    one class.
    """

    def __init__(self, only=None):
        super().__init__()
        self.means = torch.tensor([HEALTHY, DISEASED] if only is None else [only], dtype=torch.float64)
        self.seen = []

    def log_density(self, x, t):
        a = ABAR[t][:, None]
        variance = a * SPREAD**2 + 1 - a
        return -((x.double().flatten(1) - a.sqrt() * self.means) ** 2) / (2 * variance) - variance.log() / 2, variance

    def forward(self, x, timesteps):
        self.seen += timesteps.unique().tolist()
        log_p, variance = self.log_density(x, timesteps)
        a = ABAR[timesteps][:, None]
        score = (log_p.softmax(1) * (a.sqrt() * self.means - x.double().flatten(1)) / variance).sum(1)
        return wide(-(1 - ABAR[timesteps]).sqrt() * score, x)


class Classifier(Mixture):
    """The exact classifier of the mixture (equal priors)."""

    def forward(self, x, timesteps):
        self.seen += timesteps.unique().tolist()
        return self.log_density(x, timesteps)[0]


class Fixed(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x, timesteps):
        return self.value


def pixels(*values):
    return torch.tensor(values).view(-1, 1, 1, 1)


def exact(**kwargs):
    return GuidedDiffusion(Mixture(), Classifier(), amp=False, **kwargs)


def test_guidance_turns_the_mixture_into_the_healthy_class():
    """Bayes: score(x | healthy) = score(x) + grad log p(healthy | x), so guidance 1 gives the healthy noise exactly."""
    x, t = pixels(-1.0, -0.3, 0.2, 0.9), torch.tensor([20, 100, 300, 499])
    model = exact()
    healthy = Mixture(only=HEALTHY)(x, t)
    sigma = wide((1 - ABAR[t]).sqrt(), x)
    guided = model.predict_noise(x, t, torch.zeros(4)) - sigma * model.healthy_gradient(x, t)
    torch.testing.assert_close(guided.double(), healthy, rtol=1e-4, atol=1e-5)


def test_both_ways_walk_the_same_levels():
    model = exact(stride=100)
    model.reconstruct(pixels(0.0))
    assert model.network.seen == [0, 100, 200, 300, 400, 500, 400, 300, 200, 100]
    assert model.classifier.seen == [500, 400, 300, 200, 100]


def test_one_step_each_way_by_hand():
    image, e, up = pixels(0.4), 0.3, 250
    model = GuidedDiffusion(Fixed(pixels(e)), Classifier(), noise_level=up, stride=up, guidance=2.0, amp=False)
    a0, a1 = ABAR[0].item(), ABAR[up].item()
    x0 = (0.4 - math.sqrt(1 - a0) * e) / math.sqrt(a0)
    x = math.sqrt(a1) * x0 + math.sqrt(1 - a1) * e
    assert model.encode(image).item() == pytest.approx(x, rel=1e-5)
    # log p(healthy) of the exact classifier is -softplus(k x) with k from the two Gaussians.
    k = math.sqrt(a1) * (DISEASED - HEALTHY) / (a1 * SPREAD**2 + 1 - a1)
    gradient = -k / (1 + math.exp(-k * x))
    guided = e - math.sqrt(1 - a1) * 2.0 * gradient
    x0 = (x - math.sqrt(1 - a1) * guided) / math.sqrt(a1)
    expected = math.sqrt(a0) * x0 + math.sqrt(1 - a0) * guided
    assert model.reconstruct(image).item() == pytest.approx(expected, rel=1e-4)


def test_encoding_follows_the_probability_flow():
    """For one Gaussian the flow keeps (x - sqrt(a) m) / standard deviation: a closed form for the encoded image."""
    image = pixels(-0.9, -0.4, 0.1)
    a0, a1 = ABAR[0], ABAR[500]
    deviate = (image - a0.sqrt() * HEALTHY) / (a0 * SPREAD**2 + 1 - a0).sqrt()
    expected = a1.sqrt() * HEALTHY + (a1 * SPREAD**2 + 1 - a1).sqrt() * deviate
    error = {}
    for stride in (1, 5):
        model = GuidedDiffusion(Mixture(only=HEALTHY), Classifier(), stride=stride, amp=False)
        error[stride] = (model.encode(image) - expected).abs().max()
    # First order: a fifth of the step, a fifth of the error.
    assert error[1] < 0.03
    assert error[5] / error[1] == pytest.approx(5, rel=0.3)


def test_diseased_becomes_healthy_and_healthy_stays():
    image = pixels(0.5, -0.5)
    model = exact(stride=10)
    unguided = model.decode(model.encode(image), guidance=0.0)
    torch.testing.assert_close(unguided, image, atol=0.05, rtol=0)
    healthy = GuidedDiffusion(Mixture(), Classifier(), stride=10, guidance=1.0, amp=False).reconstruct(image)
    # Under the exact healthy flow the diseased pixel's noise is an upper deviate of the healthy class.
    assert healthy[0] < 0.1
    assert healthy[0] < image[0] - 0.4
    assert (healthy[1] - image[1]).abs() < 0.3


def small(in_channels=1, size=16):
    unet = DiffusionModelUNet(
        2, in_channels, in_channels, 1, (16, 32), (False, False), norm_num_groups=8, num_class_embeds=2
    )
    classifier = DiffusionModelEncoder(
        2, in_channels, 2, input_shape=(size, size), num_res_blocks=1, channels=(16, 32),
        attention_levels=(False, True), norm_num_groups=8, num_head_channels=8,
    )  # fmt: skip
    return unet, classifier


def test_losses_by_hand():
    torch.manual_seed(0)
    model = GuidedDiffusion(*small(), amp=False).eval()
    image, domain = torch.rand(3, 1, 16, 16), torch.tensor([0, 1, 1])
    rng = torch.Generator().manual_seed(4)
    t = torch.randint(1000, (3,), generator=rng)
    noise = torch.randn(image.shape, generator=rng)
    a = ABAR[t].float().view(3, 1, 1, 1)
    x = a.sqrt() * image + (1 - a).sqrt() * noise
    expected = (model.network(x, t, class_labels=domain) - noise).square().mean()
    torch.testing.assert_close(noise_loss(model, image, domain, torch.Generator().manual_seed(4)), expected)
    expected = F.cross_entropy(model.classifier(x, t), domain)
    torch.testing.assert_close(classifier_loss(model, image, domain, torch.Generator().manual_seed(4)), expected)


def test_every_parameter_gets_a_gradient():
    torch.manual_seed(0)
    model = GuidedDiffusion(*small(), amp=False)
    image, domain = torch.rand(4, 1, 16, 16), torch.tensor([0, 1, 0, 1])
    # MONAI starts the last convolution of the network and of each block at zero: all of it learns from step three.
    for _ in range(3):
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        optimizer.zero_grad()
        (noise_loss(model, image, domain) + classifier_loss(model, image, domain)).backward()
        optimizer.step()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        # A constant added to all keys of an attention changes nothing.
        if "to_k.bias" not in name:
            assert parameter.grad.abs().sum() > 0, name


def test_reconstruct_leaves_no_trace():
    model = GuidedDiffusion(*small(), stride=100).train()
    image = torch.rand(2, 1, 16, 16)
    first = model.reconstruct(image)
    assert torch.equal(first, model.reconstruct(image))  # the classifier's dropout is off
    assert first.dtype == torch.float32
    assert not first.requires_grad
    assert model.training
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("kwargs", [{"noise_level": 1000}, {"noise_level": 0}, {"stride": 3}, {"stride": 0}])
def test_levels_that_do_not_fit(kwargs):
    with pytest.raises(ValueError, match=str(next(iter(kwargs.values())))):
        exact(**kwargs)


def blobs(count, rng, size=16):
    """Smooth images: a Gaussian blob of random place, width and height on a dark ground."""
    axis = torch.linspace(-1, 1, size)
    centre = torch.rand(count, 2, 1, 1, generator=rng) - 0.5
    width = 0.25 + 0.35 * torch.rand(count, 1, 1, generator=rng)
    height = 0.4 + 0.8 * torch.rand(count, 1, 1, generator=rng)
    distance = (axis[:, None] - centre[:, 0]) ** 2 + (axis - centre[:, 1]) ** 2
    return (height * torch.exp(-distance / (2 * width**2)) - 0.6)[:, None]


@pytest.mark.slow
def test_zero_guidance_inverts_the_encoding():
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(0)
    model = GuidedDiffusion(*small(), stride=5, guidance=0.0)
    optimizer = torch.optim.Adam(model.network.parameters(), 2e-3)
    healthy, losses = torch.zeros(16, dtype=torch.int64), []
    for _ in range(250):
        loss = noise_loss(model, blobs(16, rng), healthy, rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    # An untrained network predicts no noise and inverts anything: it has to have learned.
    assert sum(losses[-50:]) / 50 < 0.06
    image = blobs(8, torch.Generator().manual_seed(1))
    encoded = model.encode(image)
    assert (encoded - image).square().mean() > 0.1
    error = (model.reconstruct(image) - image).square().mean((1, 2, 3))
    psnr = 10 * torch.log10(2.0**2 / error)
    assert psnr.min() > 35
