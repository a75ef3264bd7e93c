import math

import pytest
import torch
from torch import nn

from monai_ext.networks import load_weights
from monai_ext.networks.nets import BYOL, SimCLR, SwAV, UNet, UNetEncoder

FEATURES = (4, 4, 8)
HEADS = {"features": 8, "hidden": 16, "out_features": 6}
METHODS = [SimCLR, BYOL, SwAV]


def views(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(6, 1, 16, 16, generator=generator), torch.randn(6, 1, 16, 16, generator=generator)


@pytest.fixture(params=METHODS, ids=lambda method: method.__name__)
def network(request):
    torch.manual_seed(0)
    return request.param(UNetEncoder(1, FEATURES), **HEADS)


def test_every_trained_parameter_learns(network):
    network(*views()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters() if p.requires_grad)
    assert all(p.requires_grad for n, p in network.named_parameters() if not n.startswith("target."))


def test_both_views_play_the_same_part(network):
    first, second = views()
    torch.testing.assert_close(network(first, second), network(second, first))


def test_encoder_moves_to_the_segmentation(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "pretrained.pt")
    unet = UNet(1, 2, FEATURES)
    report = load_weights(unet, tmp_path / "pretrained.pt", "body.encoder", source_part="backbone")
    assert not report.missing
    mine, its = unet.encoder.state_dict(), network.backbone["body"]["encoder"].state_dict()
    assert mine.keys() == its.keys()
    assert all(torch.equal(mine[name], its[name]) for name in mine)


def test_byols_target_follows_slowly_and_then_stands_still():
    network = BYOL(UNetEncoder(1, FEATURES), **HEADS, momentum=0.9)
    weight = network.projection[0].weight
    with torch.no_grad():
        weight += 1
    before = network.target["projection"][0].weight.clone()
    network.advance(0.5)
    keep = 1 - 0.1 * (math.cos(math.pi / 2) + 1) / 2
    torch.testing.assert_close(network.target["projection"][0].weight, keep * before + (1 - keep) * weight)
    stands = network.target["projection"][0].weight.clone()
    network.advance(1.0)
    assert torch.equal(network.target["projection"][0].weight, stands)


def test_swavs_prototypes_keep_unit_length():
    network = SwAV(UNetEncoder(1, FEATURES), **HEADS, prototypes=5)
    optimizer = torch.optim.SGD(network.parameters(), 1.0)
    network(*views()).backward()
    optimizer.step()
    assert not torch.allclose(network.prototypes.weight.norm(dim=1), torch.ones(5))
    network.advance(0.5)
    torch.testing.assert_close(network.prototypes.weight.norm(dim=1), torch.ones(5))


def test_only_simclr_has_no_norm_in_its_head():
    heads = [[type(m) for m in method(UNetEncoder(1, FEATURES), **HEADS).projection] for method in METHODS]
    assert [nn.BatchNorm1d in head for head in heads] == [False, True, True]
