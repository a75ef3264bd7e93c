import pytest
import torch
from torch import nn

from monai_ext.errors import ConfigError
from monai_ext.networks import DeepEnsemble, set_output_prior
from monai_ext.networks.nets import ResidualEncoderUNet, STUNet, XLSTMUNet

NETWORKS = {
    "xlstm": lambda: XLSTMUNet(channels=(4, 8, 16, 16), strides=(1, 2, 2, 2), num_heads=2),
    "stunet": lambda: STUNet(1, 2, (4, 1), strides=((2, 2, 2), (2, 2, 2), (1, 1, 1))),
    "residual": lambda: ResidualEncoderUNet(1, 2, channels=(4, 8), strides=(1, 2), blocks=(1, 1)),
    "ensemble": lambda: DeepEnsemble(XLSTMUNet(channels=(4, 8, 16), strides=(1, 2, 2), num_heads=2), 2),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_an_untrained_network_finds_little_at_every_level(name):
    torch.manual_seed(0)
    network = NETWORKS[name]().train()
    image = torch.randn(2, 2 if name in ("xlstm", "ensemble") else 1, 16, 16, 16)
    before = network(image)
    set_output_prior(network, 0.01)
    levels = network(image)
    levels, before = ([found] if isinstance(found, torch.Tensor) else found for found in (levels, before))
    for level, old in zip(levels, before):
        assert level.softmax(1)[:, 1].mean() < 0.03 < 0.2 < old.softmax(1)[:, 1].mean()


def test_only_output_layers_change():
    network = NETWORKS["xlstm"]()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    set_output_prior(network, 0.1)
    changed = [name for name, value in network.state_dict().items() if not torch.equal(value, before[name])]
    assert changed
    assert all(name.startswith("decoder.heads.") for name in changed)


@pytest.mark.parametrize(("network", "share"), [(nn.Conv3d(1, 2, 1), 0.01), (NETWORKS["xlstm"](), 1.0)])
def test_what_cannot_be_set_is_an_error(network, share):
    with pytest.raises(ConfigError, match="prior"):
        set_output_prior(network, share)
