import pytest
import torch
from torch import nn

from monai_ext.networks.param_groups import param_groups


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
        self.head = nn.Linear(4, 2)


def flat(groups):
    return [id(parameter) for group in groups for parameter in group["params"]]


@pytest.mark.parametrize("lrs", [None, {"encoder": 1e-4}, {"encoder": 1e-4, "": 1e-2}])
def test_every_parameter_is_in_one_group_and_only_matrices_decay(lrs):
    network = Net()
    network.encoder.requires_grad_(False)  # to be unfrozen later
    groups = param_groups(network, 0.05, lrs)
    assert sorted(flat(groups)) == sorted(id(parameter) for parameter in network.parameters())
    for group in groups:
        assert {parameter.ndim > 1 for parameter in group["params"]} == {group["weight_decay"] == 0.05}
    rates = {id(p): group["lr"] for group in torch.optim.SGD(groups, lr=1.0).param_groups for p in group["params"]}
    lrs = lrs or {}
    for name, parameter in network.named_parameters():
        part = name.split(".")[0]
        assert rates[id(parameter)] == lrs.get(part, lrs.get("", 1.0))


def test_wrapped_network_is_unwrapped():
    network = Net()
    assert flat(param_groups(nn.DataParallel(network), 0.1, {"head": 1})) == flat(
        param_groups(network, 0.1, {"head": 1})
    )


def test_part_without_parameters_is_refused():
    with pytest.raises(ValueError, match="encodr"):
        param_groups(Net(), 0.05, {"encodr": 1e-4})
