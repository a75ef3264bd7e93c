import logging

import pytest
import torch
from ignite.engine import Engine, Events
from monai.handlers import CheckpointLoader
from torch import nn

from monai_ext.data.io.record import write_record
from monai_ext.errors import CheckpointError
from monai_ext.handlers import WeightsLoader
from monai_ext.handlers.find_handlers import find_handlers
from monai_ext.networks.nets import STUNet


class Net(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.encoder, self.head = nn.Linear(2, 2), nn.Linear(2, 1)
        for parameter in self.parameters():
            nn.init.constant_(parameter, value)


def run(*handlers):
    engine = Engine(lambda engine, batch: None)
    for handler in handlers:
        handler.attach(engine)
    engine.run([0])
    return engine


def values(net):
    return {name: float(value.mean()) for name, value in net.named_parameters() if name.endswith("weight")}


def test_a_part_is_loaded(tmp_path):
    torch.save(Net(1.0).state_dict(), tmp_path / "pretrained.pt")
    net = Net(0.0)
    run(WeightsLoader(net, str(tmp_path / "pretrained.pt"), "encoder"))
    assert values(net) == {"encoder.weight": 1.0, "head.weight": 0.0}


@pytest.mark.parametrize("first", [True, False])
def test_pretraining_does_not_undo_what_monai_label_loads(tmp_path, first):
    torch.save(Net(1.0).state_dict(), tmp_path / "pretrained.pt")
    torch.save(Net(2.0).state_dict(), tmp_path / "model.pt")
    net = Net(0.0)
    handlers = [
        CheckpointLoader(str(tmp_path / "model.pt"), {"model": net}),
        WeightsLoader(net, str(tmp_path / "pretrained.pt"), "encoder"),
    ]
    run(*(handlers if first else handlers[::-1]))
    assert values(net) == {"encoder.weight": 2.0, "head.weight": 2.0}


def test_missing_pretraining_is_loud_and_missing_weights_are_an_error(tmp_path, caplog):
    net = Net(0.5)
    with caplog.at_level(logging.WARNING):
        run(WeightsLoader(net, str(tmp_path / "pretrained.pt"), "encoder"))
    assert "NO PRETRAINED WEIGHTS" in caplog.text
    assert values(net) == {"encoder.weight": 0.5, "head.weight": 0.5}
    with pytest.raises(CheckpointError, match="no such file"):
        run(WeightsLoader(net, str(tmp_path / "model.pt")))


@pytest.mark.parametrize("r2", [-0.25, 0.5, None])
def test_a_pretraining_that_learned_nothing_is_named(tmp_path, caplog, r2):
    torch.save(Net(1.0).state_dict(), tmp_path / "pretrained.pt")
    write_record(tmp_path / "pretrained.pt", {}, {} if r2 is None else {"r2": r2})
    run(WeightsLoader(Net(0.0), str(tmp_path / "pretrained.pt"), "encoder"))
    assert ("no better than a trivial fill (R2 -0.25)" in caplog.text) is (r2 == -0.25)


def test_published_weights_are_read_in_their_own_format(tmp_path):
    """A file of STU-Net's authors, under their names; a name of the register, which is refused by its architecture."""
    source, target = STUNet(1, 3, (4, 1)), STUNet(2, 2, (4, 1))
    theirs = {"encoder.stages.": "conv_blocks_context.", ".skip.": ".conv3."}
    weights = {}
    for name, value in source.encoder.state_dict(prefix="encoder.").items():
        for ours, published in theirs.items():
            name = name.replace(ours, published)
        weights[name] = value
    torch.save({"state_dict": weights}, tmp_path / "base.model")
    run(WeightsLoader(target, str(tmp_path / "base.model"), "encoder", 0.8))
    assert torch.equal(target.encoder.stages[1][0].conv1.weight, source.encoder.stages[1][0].conv1.weight)
    with pytest.raises(CheckpointError, match="stunet_base: the weights are of STU-Net-B, the network is STU-Net with"):
        run(WeightsLoader(target, "stunet_base", "encoder"))


def test_finds_objects_and_bound_methods(tmp_path):
    loader = WeightsLoader(Net(0.0), None)

    class Bound:
        def start(self, engine):
            pass

    bound = Bound()
    engine = Engine(lambda engine, batch: None)
    loader.attach(engine)
    engine.add_event_handler(Events.STARTED, bound.start)
    engine.add_event_handler(Events.COMPLETED, bound.start)
    assert find_handlers(engine, WeightsLoader) == [loader]
    assert find_handlers(engine, Bound) == [bound]
    assert find_handlers(engine, Bound, Events.EPOCH_COMPLETED) == []
