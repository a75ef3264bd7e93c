"""Members are independent networks whose mean opinion is what comes out."""

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from monai_ext.handlers import WeightsLoader
from monai_ext.networks import DeepEnsemble, deep_ensemble, members_of, param_groups
from monai_ext.networks.nets import STUNet, UNet


def small_unet():
    torch.manual_seed(3)
    return UNet(1, 2, [4, 8, 8])


def test_outside_of_training_the_probabilities_are_the_mean_of_the_members():
    ensemble = DeepEnsemble(small_unet(), 3).eval()
    x = torch.randn(2, 1, 16, 16)
    expected = torch.stack([member(x).softmax(1) for member in ensemble.members]).mean(0)
    torch.testing.assert_close(ensemble(x).softmax(1), expected)


@pytest.mark.parametrize("items", [4, 5])
def test_in_training_each_member_sees_and_learns_from_its_part_only(items):
    ensemble = DeepEnsemble(small_unet(), 2).train()
    x = torch.randn(items, 1, 16, 16)
    output = ensemble(x)
    for item in range(items):  # dealt in turn
        torch.testing.assert_close(output[item : item + 1], ensemble.members[item % 2](x[item : item + 1]))
    output[1::2].square().sum().backward()
    assert all(not p.grad.any() for p in ensemble.members[0].parameters() if p.grad is not None)
    assert all(p.grad is not None for p in ensemble.members[1].parameters())


def test_deep_supervision_keeps_its_levels():
    network = STUNet(1, 3, [4, 1], ((2, 2, 2), (2, 2, 2), (1, 1, 1)))
    ensemble = DeepEnsemble(network, 2).train()
    x = torch.randn(2, 1, 16, 16, 16)
    levels, alone = ensemble(x), network(x[:1])
    assert [level.shape[1:] for level in levels] == [level.shape[1:] for level in alone]
    assert all(len(level) == 2 for level in levels)
    assert isinstance(ensemble.eval()(x), torch.Tensor)


def test_members_start_from_the_same_distribution_and_not_from_the_same_weights():
    network = UNet(1, 2, [4, 8, 8])
    network.fixed = nn.Parameter(torch.arange(12.0).view(3, 4), requires_grad=False)
    for first, second in zip(network.parameters(), DeepEnsemble(network, 2).members[1].parameters()):
        torch.testing.assert_close(first.flatten().sort().values, second.flatten().sort().values)
        drawn = first.requires_grad and first.ndim > 1 and len(first.unique()) > 1
        assert torch.equal(first, second) is not drawn


def test_seed_decides_the_members():
    weights = []
    for _ in range(2):
        network = small_unet()
        weights.append(DeepEnsemble(network, 2).state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_one_member_is_the_network_itself():
    network = small_unet()
    assert deep_ensemble(network, 1) is network
    assert members_of(network) == [network]
    assert len(members_of(deep_ensemble(network, 2))) == 2


def test_the_traced_ensemble_agrees():
    ensemble = DeepEnsemble(small_unet(), 2).eval()
    x = torch.randn(1, 1, 16, 16)
    torch.testing.assert_close(torch.jit.trace(ensemble, x)(x), ensemble(x))


def test_what_cannot_be_shared_is_said():
    with pytest.raises(ValueError, match=r"a batch of 1 cannot be shared by 2 members.*batch_size"):
        DeepEnsemble(small_unet(), 2).train()(torch.zeros(1, 1, 16, 16))
    with pytest.raises(ValueError, match="at least one member, got 0"):
        DeepEnsemble(small_unet(), 0)


def test_pretrained_part_reaches_all_members(tmp_path):
    source = small_unet()
    torch.save(source.state_dict(), tmp_path / "pretrained.pt")
    torch.manual_seed(9)
    ensemble = DeepEnsemble(UNet(1, 2, [4, 8, 8]), 2)
    engine = Engine(lambda engine, batch: None)
    WeightsLoader(ensemble, str(tmp_path / "pretrained.pt"), part="body.encoder", frozen_epochs=1).attach(engine)
    engine.run([0], max_epochs=1)
    for member in ensemble.members:
        assert all(
            torch.equal(value, member.state_dict()[name])
            for name, value in source.state_dict().items()
            if name.startswith("body.encoder")
        )
        assert not any(p.requires_grad for p in member.body.encoder.parameters())  # in the first epoch
        assert all(p.requires_grad for p in member.head.parameters())


def test_rates_of_parts_hold_within_the_members():
    groups = param_groups(DeepEnsemble(small_unet(), 2), 0.01, {"head": 0.5})
    assert {group.get("lr") for group in groups} == {0.5, None}
    count = sum(p.numel() for group in groups if group.get("lr") == 0.5 for p in group["params"])
    assert count == 2 * sum(p.numel() for p in small_unet().head.parameters())
