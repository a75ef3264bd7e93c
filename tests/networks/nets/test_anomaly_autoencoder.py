import pytest
import torch

from monai_ext.networks.nets import AnomalyAutoencoder


@pytest.mark.parametrize("img_size", [64, 128])
@pytest.mark.parametrize(("latent", "shape"), [("spatial", (2, 128, 8, 8)), ("dense", (2, 128))])
def test_latent_and_image_sizes(latent, shape, img_size):
    network = AnomalyAutoencoder(img_size, in_channels=2, latent=latent)
    image = torch.rand(2, 2, img_size, img_size)
    assert network.encode(image).shape == shape
    assert network(image).shape == image.shape


def test_channels_at_128():
    network = AnomalyAutoencoder(128)
    convolutions = [m for m in network.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.ConvTranspose2d))]
    assert [(m.in_channels, m.out_channels) for m in convolutions] == [
        (1, 32), (32, 64), (64, 128), (128, 128), (128, 128), (128, 64), (64, 32), (32, 32), (32, 1)
    ]  # fmt: skip


@pytest.mark.parametrize("latent", ["spatial", "dense"])
def test_every_parameter_gets_a_gradient(latent):
    network = AnomalyAutoencoder(32, latent=latent)
    network(torch.rand(4, 1, 32, 32)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_reconstruct_is_deterministic_and_leaves_the_mode():
    network = AnomalyAutoencoder(32, latent="dense").train()
    image = torch.rand(2, 1, 32, 32)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    first, second = network.reconstruct(image), network.reconstruct(image)
    assert torch.equal(first, second)
    # In training mode dropout would make two passes differ.
    assert not torch.equal(network(image), network(image))
    network.load_state_dict(before)
    network.reconstruct(image)
    assert network.training
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_the_dense_code_is_the_only_way_through():
    """The derivative of the reconstruction has at most the rank of the code: nothing bypasses the bottleneck."""
    torch.manual_seed(0)
    network = AnomalyAutoencoder(16, latent="dense", latent_dim=4).eval().double()
    image = torch.rand(1, 1, 16, 16, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(network, image, vectorize=True).view(256, 256)
    assert torch.linalg.matrix_rank(jacobian) == 4


def test_it_learns():
    torch.manual_seed(0)
    network = AnomalyAutoencoder(16)
    position = torch.linspace(-1, 1, 16)
    image = torch.stack([torch.outer((a * position).sin(), position) for a in range(1, 9)])[:, None]
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    losses = []
    for _ in range(60):
        loss = torch.nn.functional.l1_loss(network(image), image)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("kwargs", [{"img_size": 96}, {"img_size": 8}, {"latent": "variational"}])
def test_wrong_arguments(kwargs):
    with pytest.raises(ValueError, match=str(next(iter(kwargs.values())))):
        AnomalyAutoencoder(**kwargs)
