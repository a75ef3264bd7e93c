from itertools import pairwise

import pytest
import torch

from monai_ext.networks.nets import FixedPointDiscriminator, FixedPointGenerator


def small_generator(**kwargs):
    return FixedPointGenerator(channels=4, num_blocks=1, **{"start_as_identity": False, **kwargs})


def size(network):
    return sum(p.numel() for p in network.parameters())


def test_sizes_of_the_paper():
    # 7x7 in and out, 4x4 down and up, six blocks of two 3x3 at 256 channels, two numbers per normalised channel.
    convolutions = 3 * 64 * 49 + 64 * 49 + 2 * 16 * (64 * 128 + 128 * 256) + 12 * 9 * 256**2
    norms = 2 * (64 + 128 + 256 + 12 * 256 + 128 + 64)
    assert size(FixedPointGenerator()) == convolutions + norms == 8_408_576
    # Six 4x4 layers 1 -> 64 -> ... -> 2048 with bias, a 3x3 critic head, a 2x2 head with two classes.
    widths = [1, 64, 128, 256, 512, 1024, 2048]
    trunk = sum(16 * a * b + b for a, b in pairwise(widths))
    assert size(FixedPointDiscriminator(128)) == trunk + 9 * 2048 + 4 * 2048 * 2


@pytest.mark.parametrize(("output", "exact"), [("clamp", True), ("tanh", False)])
def test_zero_residual_is_identity(output, exact):
    generator = small_generator(output=output, start_as_identity=True)
    image = torch.linspace(-1, 1, 2 * 16 * 20).view(2, 1, 16, 20)
    error = (generator(image, torch.tensor([0, 1])) - image).abs().max()
    # The published tanh moves |x| = 1 by 1 - tanh(1).
    assert error == 0 if exact else abs(error - (1 - torch.tanh(torch.tensor(1.0)))) < 1e-6


def test_zero_residual_is_identity_under_autocast():
    generator = small_generator(start_as_identity=True)
    image = torch.rand(2, 1, 16, 16) * 2 - 1
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(generator(image), image)


def test_pixels_beyond_the_clamp_go_on_learning():
    generator = small_generator(output_range=(0.0, 1.0))
    image = torch.full((1, 1, 16, 16), 2.0, requires_grad=True)  # far beyond the range
    made = generator(image, torch.tensor([1]))
    assert made.max() == 1
    made.sum().backward()
    assert generator.layers[-1].weight.grad.abs().sum() > 0


def test_an_image_changes_only_in_the_gland():
    generator = small_generator()
    image, gland = torch.rand(2, 1, 16, 16), torch.zeros(2, 1, 16, 16, dtype=torch.bool)
    gland[:, :, 4:9, 5:12] = True
    made = generator(image, torch.tensor([0, 1]), gland)
    assert torch.equal(made[~gland], image[~gland])
    torch.testing.assert_close(made[gland], generator(image, torch.tensor([0, 1]))[gland])
    assert not torch.allclose(made[gland], image[gland])


def test_domain_reaches_every_image_alone():
    generator = small_generator(num_domains=3)
    image = torch.rand(3, 1, 16, 16)
    together = generator(image, torch.tensor([0, 1, 2]))
    apart = torch.cat([generator(image[i : i + 1], torch.tensor([i])) for i in range(3)])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(generator(image, torch.tensor([1, 1, 1])), together)


def test_reconstruct_translates_to_the_healthy_domain():
    generator = small_generator(healthy=1).train()
    image = torch.rand(2, 1, 16, 16)
    healthy = generator.reconstruct(image)
    torch.testing.assert_close(healthy, generator(image, torch.tensor([1, 1])))
    assert not healthy.requires_grad
    assert generator.training
    assert healthy.min() >= -1
    assert healthy.max() <= 1


def test_every_parameter_gets_a_gradient():
    generator, discriminator = FixedPointGenerator(start_as_identity=False), FixedPointDiscriminator(64)
    critic, logits = discriminator(generator(torch.rand(2, 1, 64, 64), torch.tensor([0, 1])))
    (critic.sum() + logits.square().sum()).backward()
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_discriminator_shapes_and_independence_of_samples():
    discriminator = FixedPointDiscriminator(128, in_channels=3, num_domains=4, channels=4)
    image = torch.rand(2, 3, 128, 128)
    critic, logits = discriminator(image)
    assert critic.shape == (2, 1, 2, 2)
    assert logits.shape == (2, 4)
    torch.testing.assert_close(discriminator(image[1:])[0], critic[1:])


def test_discriminator_equals_plain_convolutions():
    """Small maps go through a matrix product on a CPU: values and second derivatives are those of a convolution."""
    torch.manual_seed(0)
    discriminator = FixedPointDiscriminator(32, channels=4, num_layers=5).double()
    plain = torch.nn.Sequential()
    for layer in discriminator.trunk:
        if isinstance(layer, torch.nn.Conv2d):
            convolution = torch.nn.Conv2d(layer.in_channels, layer.out_channels, 4, 2, 1).double()
            convolution.load_state_dict(layer.state_dict())
            plain.append(convolution)
        else:
            plain.append(torch.nn.LeakyReLU(0.01))
    results = []
    for trunk in (discriminator.trunk, plain):
        image = torch.linspace(-1, 1, 2 * 32 * 32, dtype=torch.float64).view(2, 1, 32, 32).sin().requires_grad_()
        value = trunk(image)
        (slope,) = torch.autograd.grad(value.square().sum(), image, create_graph=True)
        results.append([value, slope, *torch.autograd.grad(slope.square().sum(), trunk.parameters())])
    for a, b in zip(*results):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kwargs", [{"output": "sigmoid"}, {"healthy": 2}])
def test_wrong_generator_arguments(kwargs):
    with pytest.raises(ValueError, match=str(next(iter(kwargs.values())))):
        FixedPointGenerator(**kwargs)


def test_discriminator_rejects_a_size_that_does_not_divide():
    with pytest.raises(ValueError, match="100"):
        FixedPointDiscriminator(100)


def test_generator_exports():
    generator = small_generator().eval()
    image, domain = torch.rand(1, 1, 16, 16), torch.tensor([1])
    torch.testing.assert_close(torch.jit.script(generator)(image, domain), generator(image, domain))
