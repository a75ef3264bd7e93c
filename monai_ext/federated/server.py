"""The server of a federation: federated averaging from and to plain state dicts."""

from __future__ import annotations

from pathlib import Path

import torch
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.workflows.fedavg import FedAvg

from monai_ext.networks import read_checkpoint, save_atomically

__all__ = ["WeightsFedAvg"]


class WeightsFedAvg(FedAvg):
    """Average the sites' weights in each round, weighted by their numbers of steps (McMahan et al. 2017).

    Args:
        num_clients: number of sites that take part in a round.
        num_rounds: number of rounds.
        initial: path of the state dict from which the first round starts.
        final: path to which the averaged weights are written after each round.
    """

    def __init__(self, num_clients: int, num_rounds: int, initial: str, final: str) -> None:
        super().__init__(num_clients=num_clients, num_rounds=num_rounds, persistor_id="")
        self.initial, self.final = initial, final

    def load_model(self) -> FLModel:
        """The weights to start from."""
        state = read_checkpoint(Path(self.initial))
        return FLModel(params_type=ParamsType.FULL, params={name: value.numpy() for name, value in state.items()})

    def save_model(self, model: FLModel) -> None:
        """Write the averaged weights with the data types of the network."""
        state = read_checkpoint(Path(self.initial))
        averaged = {name: torch.as_tensor(model.params[name]) for name in state}
        save_atomically({n: v.reshape(state[n].shape).to(state[n].dtype) for n, v in averaged.items()}, self.final)
