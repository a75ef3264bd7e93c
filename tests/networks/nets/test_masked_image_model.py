import pytest
import torch
from monai.networks.nets import BasicUNet
from torch import nn

from monai_ext.networks.blocks import mask_to_image
from monai_ext.networks.nets import MaskedImageModel


@pytest.fixture
def unet():
    torch.manual_seed(0)
    return BasicUNet(2, 1, 1, features=(4, 8, 8, 16, 16, 4)).eval()


def some_mask(count=2, num_patches=256, seed=0):
    return torch.rand(count, num_patches, generator=torch.Generator().manual_seed(seed)) < 0.5


def test_the_backbone_sees_visible_pixels_and_zeros():
    image, mask = torch.randn(2, 3, 160, 160), some_mask()
    seen = MaskedImageModel(nn.Identity(), (10, 10))(image, mask)
    hidden = mask_to_image(mask, (160, 160), (10, 10)).expand_as(image)
    assert not seen[hidden].any()
    assert torch.equal(seen[~hidden], image[~hidden])


def test_or_values_of_each_channel_that_are_learned():
    image, mask = torch.randn(2, 3, 160, 160), some_mask()
    model = MaskedImageModel(nn.Identity(), (10, 10), in_channels=3)
    with torch.no_grad():
        model.fill.token.copy_(torch.tensor([1.0, 2.0, 3.0]))
    seen = model(image, mask)
    hidden = mask_to_image(mask, (160, 160), (10, 10)).expand_as(image)
    for channel, value in enumerate((1.0, 2.0, 3.0)):
        assert (seen[:, channel][hidden[:, channel]] == value).all()
    assert torch.equal(seen[~hidden], image[~hidden])
    seen.sum().backward()
    assert (model.fill.token.grad == hidden[:, 0].sum()).all()


@pytest.mark.parametrize(("size", "patch"), [(144, 9), (160, 10)])
def test_hidden_pixels_do_not_reach_the_reconstruction(unet, size, patch):
    model, mask = MaskedImageModel(unet, (patch, patch)), some_mask()
    image = torch.randn(2, 1, size, size)
    hidden = mask_to_image(mask, (size, size), (patch, patch))
    pred = model(image, mask)
    assert pred.shape == image.shape
    torch.testing.assert_close(model(torch.where(hidden, 1e3, image), mask), pred)
    assert not torch.allclose(model(torch.where(hidden, image, image + 1), mask), pred)


def test_every_parameter_learns_and_the_weights_are_the_backbones(unet):
    model = MaskedImageModel(unet, (10, 10))
    model(torch.randn(1, 1, 160, 160), some_mask(1)).square().mean().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert {name.removeprefix("backbone.") for name in model.state_dict()} == set(unet.state_dict())


def test_the_papers_unet_is_monais():
    """Four modules down, four up, 64 to 1024 channels: about the 31 million parameters of Ronneberger's U-Net."""
    with torch.device("meta"):
        unet = BasicUNet(2, 1, 1, features=(64, 128, 256, 512, 1024, 64))
    assert sum(isinstance(m, nn.MaxPool2d) for m in unet.modules()) == 4
    assert sum(isinstance(m, nn.ConvTranspose2d) for m in unet.modules()) == 4
    assert sum(p.numel() for p in unet.parameters()) == pytest.approx(31e6, rel=0.02)
