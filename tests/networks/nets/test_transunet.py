import pytest
import torch

from monai_ext.networks.nets import TransUNet
from monai_ext.networks.nets.transunet import ResNetEncoder, StandardizedConv2d

SMALL = {
    "embed_dim": 48,
    "depth": 2,
    "num_heads": 4,
    "resnet_width": 32,
    "resnet_depths": (1, 1, 1),
    "decoder_channels": (32, 32, 16, 16, 16),
}


def test_has_as_many_parameters_as_published():
    """At 224x224 with two classes: DA-TransUNet (Sun et al. 2024), table 3, gives 105,276,066 for TransUNet."""
    with torch.device("meta"):
        network = TransUNet(img_size=224)
    assert sum(p.numel() for p in network.parameters()) == 105_276_066


def test_resnet_features():
    features = ResNetEncoder(3, 64, (3, 4, 9))(torch.randn(1, 3, 64, 96))
    assert [tuple(f.shape[1:]) for f in features] == [(64, 32, 48), (256, 16, 24), (512, 8, 12), (1024, 4, 6)]


def test_standardized_kernels_do_not_depend_on_scale_and_offset():
    conv, x = StandardizedConv2d(4, 6, 3), torch.randn(1, 4, 8, 8)
    before = conv(x)
    with torch.no_grad():
        conv.weight.mul_(torch.rand(6, 1, 1, 1) + 5).add_(torch.rand(6, 1, 1, 1))
    torch.testing.assert_close(conv(x), before, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(("size", "channels", "classes"), [(88, 3, 2), ((40, 70), 1, 4), ((64, 32), 5, 2)])
def test_any_size_and_channels(size, channels, classes):
    network = TransUNet(channels, classes, size, **SMALL)
    height, width = network.img_size
    assert network(torch.randn(2, channels, height, width)).shape == (2, classes, height, width)


def test_transformer_sees_the_whole_image():
    """One corner's logits depend on the opposite corner, out of reach of the convolutions of the skips."""
    image = torch.randn(1, 3, 160, 160, requires_grad=True)
    network = TransUNet(img_size=160, **SMALL).eval()
    network(image)[0, 1, 0, 0].backward()
    assert image.grad[..., -8:, -8:].abs().max() > 0
    image.grad = None
    network.blocks = torch.nn.Identity()
    # Group norm is global too; without it and the transformer nothing reaches across.
    for module in network.resnet.modules():
        if isinstance(module, torch.nn.Sequential):
            for name, child in module.named_children():
                if isinstance(child, torch.nn.GroupNorm):
                    setattr(module, name, torch.nn.Identity())
    network(image)[0, 1, 0, 0].backward()
    assert image.grad[..., -8:, -8:].abs().max() == 0


def test_learns_a_disc():
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.arange(40), torch.arange(40), indexing="ij")
    disc = ((y - 15) ** 2 + (x - 22) ** 2 < 64).long()[None]
    image = disc[:, None] + 0.3 * torch.randn(2, 1, 40, 40)
    network = TransUNet(1, 2, 40, **SMALL)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(network(image), disc.expand(2, -1, -1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = network.eval()(image).argmax(1) == 1
    assert (found == disc.bool()).float().mean() > 0.97


def test_errors():
    with pytest.raises(ValueError, match=r"\(88, 88\).*96, 88"):
        TransUNet(img_size=88, **SMALL)(torch.randn(1, 3, 96, 88))
    with pytest.raises(ValueError, match="3 ResNet stages need 5"):
        TransUNet(decoder_channels=(64, 16))
