"""The server reads and writes plain state dicts, with the types and shapes of the network."""

import pytest
import torch
from torch import nn

from monai_ext.errors import CheckpointError
from monai_ext.networks import read_checkpoint, save_atomically

pytest.importorskip("nvflare")

from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.aggregators.weighted_aggregation_helper import WeightedAggregationHelper

from monai_ext.federated.server import WeightsFedAvg


@pytest.fixture
def state():
    """Weights of several types; the counter of batches has no axis."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    return network.state_dict() | {"half": torch.ones(3, dtype=torch.float16)}


@pytest.fixture
def server(state, tmp_path):
    save_atomically(state, tmp_path / "initial.pt")
    return WeightsFedAvg(2, 3, str(tmp_path / "initial.pt"), str(tmp_path / "model.pt"))


def test_it_starts_from_the_file(server, state):
    model = server.load_model()
    assert model.params_type == ParamsType.FULL
    assert model.params.keys() == state.keys()
    assert all(torch.equal(torch.as_tensor(model.params[name]), value) for name, value in state.items())
    assert (server.num_clients, server.num_rounds) == (2, 3)


def test_what_it_loads_it_writes(server, state, tmp_path):
    server.save_model(server.load_model())
    written = read_checkpoint(tmp_path / "model.pt")
    assert list(written) == list(state)
    assert all(torch.equal(written[name], value) for name, value in state.items())


def test_an_average_keeps_types_and_shapes_of_the_network(server, state, tmp_path):
    """Weighted by steps, as NVFlare averages: everything becomes float, and a counter may get an axis."""
    shares, steps = [{n: v.numpy() for n, v in state.items()} for _ in range(2)], (1, 3)
    shares[1] = {name: value + 4 for name, value in shares[1].items()}
    helper = WeightedAggregationHelper()
    for share, weight in zip(shares, steps):
        helper.add(data=share, weight=weight, contributor_name=f"site-{weight}", contribution_round=0)
    averaged = helper.get_result()
    averaged["1.num_batches_tracked"] = averaged["1.num_batches_tracked"].reshape(1)
    server.save_model(FLModel(params_type=ParamsType.FULL, params=averaged))
    written = read_checkpoint(tmp_path / "model.pt")
    for name, value in state.items():
        assert (written[name].dtype, written[name].shape) == (value.dtype, value.shape), name
        assert torch.allclose(written[name].double(), value.double() + 3, atol=1e-2), name


def test_it_does_not_start_without_weights(tmp_path):
    with pytest.raises(CheckpointError):
        WeightsFedAvg(2, 1, str(tmp_path / "none.pt"), str(tmp_path / "model.pt")).load_model()
