"""Small networks of the published architectures, and what the loader has to say of a file that does not fit."""

import pytest
import torch
from torch import nn

from monai_ext.errors import CheckpointError
from monai_ext.networks.nets import ResidualEncoderUNet, STUNet
from monai_ext.networks.published import load_published

SIZES = {"channels": (4, 8, 12), "strides": (1, 2, 2), "blocks": (1, 2, 2)}


def network(kind, channels=1, **options):
    if kind in ("stunet", "spark"):
        return STUNet(channels, 3, (8, 1))
    return ResidualEncoderUNet(channels, 3, **SIZES, **options)


def refused(net, source, words, **options):
    """One error that says this; the network keeps what it has."""
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(CheckpointError, match=words) as error:
        load_published(net, source, **options)
    assert "\n" not in str(error.value)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])


def stunet_small(write):
    return write("stunet", base=16).file


def shuffle(network):
    """No scale and no offset is left at the value it starts with."""
    for parameter in network.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=0.5, std=0.5)
    return network
