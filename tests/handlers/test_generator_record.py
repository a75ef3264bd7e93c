import json

from ignite.engine import Engine
from torch import nn

from monai_ext.data import fingerprint
from monai_ext.handlers import GeneratorRecord


def test_written_beside_the_weights_when_the_run_ends(tmp_path):
    network, engine = nn.Linear(2, 1), Engine(lambda engine, batch: None)
    record = GeneratorRecord(network, str(tmp_path / "adc.pt"), ["p2", 1, "p2"], {"method": "x"})
    record.attach(engine)
    before = fingerprint(network.state_dict())
    nn.init.zeros_(network.weight)  # the training
    engine.run([0])
    found = json.loads((tmp_path / "adc.json").read_text())
    assert found["training_patients"] == ["1", "p2"]
    assert found["settings"] == {"method": "x"}
    assert found["generator"] == fingerprint(network.state_dict()) != before
    assert "torch" in found["versions"]
