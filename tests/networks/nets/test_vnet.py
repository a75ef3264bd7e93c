import pytest
import torch
from torch import nn

from monai_ext.networks.nets import VNet


@pytest.mark.parametrize(("channels", "size"), [(3, (88, 88)), (5, (33, 50)), (1, (16, 16))])
def test_any_size_and_number_of_channels(channels, size):
    network = VNet(channels, num_classes=3).eval()
    with torch.no_grad():
        assert network(torch.randn(1, channels, *size)).shape == (1, 3, *size)


def test_dropout_is_of_feature_maps_and_can_be_off():
    assert not [m for m in VNet().modules() if isinstance(m, nn.Dropout | nn.Dropout3d)]
    assert {m.p for m in VNet().modules() if isinstance(m, nn.Dropout2d)} == {0.5}
    torch.manual_seed(0)
    image, network = torch.randn(2, 3, 16, 16), VNet(dropout=0.0).train()
    with torch.no_grad():
        assert torch.equal(network(image), network(image))


def test_padding_is_that_of_the_border():
    """An image and itself with its last row repeated up to the multiple give the same logits."""
    torch.manual_seed(0)
    network, image = VNet().eval(), torch.randn(1, 3, 30, 32)
    whole = torch.cat([image, image[:, :, -1:].expand(-1, -1, 2, -1)], 2)
    with torch.no_grad():
        torch.testing.assert_close(network(image), network(whole)[:, :, :30])
