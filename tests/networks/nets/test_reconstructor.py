import pytest
import torch
from torch import nn

from monai_ext.networks.nets import (
    AnomalyAutoencoder,
    ConstantReconstruction,
    FixedPointGenerator,
    GuidedDiffusion,
    Reconstructor,
)


class NoNoise(nn.Module):
    def forward(self, x, timesteps):
        return torch.zeros_like(x)


class Indifferent(nn.Module):
    def forward(self, x, timesteps):
        return torch.stack([x.mean((1, 2, 3)), -x.mean((1, 2, 3))], 1)


METHODS = {
    "constant": ConstantReconstruction,
    "dense_ae": lambda: AnomalyAutoencoder(16, latent="dense"),
    "spatial_ae": lambda: AnomalyAutoencoder(16, latent="spatial"),
    "diffusion": lambda: GuidedDiffusion(NoNoise(), Indifferent(), stride=100),
    "fixed_point_gan": lambda: FixedPointGenerator(channels=4, num_blocks=1),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("training", [True, False])
def test_every_method_is_a_reconstructor(method, training):
    model = METHODS[method]().train(training)
    assert isinstance(model, Reconstructor)
    image = torch.rand(2, 1, 16, 16)
    before = image.clone()
    healthy = model.reconstruct(image, generator=torch.Generator().manual_seed(0))
    assert healthy.shape == image.shape
    assert torch.isfinite(healthy).all()
    assert not healthy.requires_grad
    assert model.training == training
    assert torch.equal(image, before)
