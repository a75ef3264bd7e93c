"""A site trains in each round from what it receives, and sends and keeps what it has learned."""

import pytest
import torch
from monai.fl.utils.constants import ExtraItems, FlStatistics
from monai.fl.utils.exchange_object import ExchangeObject

from monai_ext.networks import read_checkpoint

pytest.importorskip("nvflare")

from nvflare.app_common.abstract.fl_model import FLModel, ParamsType

from monai_ext.federated import client

SETTINGS = {
    "bundle_root": "/bundles/one",
    "config_files": ["configs/train.json", "configs/demo.json"],
    "local_epochs": 2,
    "overrides": {"site-1": {"datalist": "1.json"}, "site-2": {"datalist": "2.json", "max_epochs": 4}},
}


class Algorithm:
    """MONAI's client algorithm, which adds one to the weights in each round, in five steps."""

    made = None

    def __init__(self, **options):
        self.options, self.rounds = options, 0
        Algorithm.made = self

    def initialize(self, extra):
        self.extra = extra

    def train(self, data):
        assert all(isinstance(value, torch.Tensor) for value in data.weights.values())
        self.weights = {name: value + 1 for name, value in data.weights.items()}
        self.rounds += 1

    def get_weights(self):
        statistics = {FlStatistics.NUM_EXECUTED_ITERATIONS: 5 * self.rounds}
        return ExchangeObject(weights=self.weights, statistics=statistics)


@pytest.fixture
def sent(monkeypatch, tmp_path):
    """What site 2 sends in two rounds."""
    rounds = [{"a": torch.zeros(2, 3).numpy()}, {"a": torch.full((2, 3), 10.0).numpy()}]
    left, found, began = list(rounds), [], []
    monkeypatch.setattr(client.flare, "init", lambda: began.append(True))
    monkeypatch.setattr(client.flare, "get_site_name", lambda: "site-2")
    monkeypatch.setattr(client.flare, "is_running", lambda: bool(left))
    monkeypatch.setattr(client.flare, "receive", lambda: FLModel(params_type=ParamsType.FULL, params=left.pop(0)))
    monkeypatch.setattr(client.flare, "send", found.append)
    monkeypatch.setattr(client, "MonaiAlgo", Algorithm)
    client.run_site(SETTINGS | {"output_dir": str(tmp_path)})
    assert began == [True]
    return found


def test_each_round_sends_full_weights_and_its_steps(sent):
    assert [model.params_type for model in sent] == [ParamsType.FULL] * 2
    assert [model.params["a"].tolist() for model in sent] == [[[1.0] * 3] * 2, [[11.0] * 3] * 2]
    assert [model.meta for model in sent] == [{"NUM_STEPS_CURRENT_ROUND": 5}, {"NUM_STEPS_CURRENT_ROUND": 10}]


def test_it_keeps_what_it_sent_last(sent, tmp_path):
    kept = read_checkpoint(tmp_path / "site-2/sent.pt")
    assert kept["steps"] == 10
    assert kept["weights"].keys() == {"a"}
    assert kept["weights"]["a"].tolist() == sent[-1].params["a"].tolist()
    assert not (tmp_path / "site-1").exists()


def test_the_configs_run_with_the_settings_of_this_site(sent, tmp_path):
    made = Algorithm.made
    assert made.extra == {ExtraItems.CLIENT_NAME: "site-2"}
    assert made.options["train_kwargs"] == {
        "bundle_root": "/bundles/one",
        "output_dir": str(tmp_path / "site-2"),
        "model": str(tmp_path / "site-2/model.pt"),
        "semi_supervised": False,
        "datalist": "2.json",
        "max_epochs": 4,
    }
    assert made.options["config_train_filename"] == SETTINGS["config_files"]
    assert (made.options["local_epochs"], made.options["send_weight_diff"]) == (2, False)
    assert made.rounds == 2
