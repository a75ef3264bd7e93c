import hashlib
import json

import torch
from ignite.engine import Engine

from monai_ext.handlers import RunReport
from monai_ext.metrics import SliceDice


def test_report_holds_what_decides_a_result(tmp_path, capsys):
    metric = SliceDice().metric
    truth = torch.zeros(2, 1, 4, 4, 3)
    truth[:, :, :2, :2, 1] = 1
    metric(truth, truth)
    (tmp_path / "model.pt").write_bytes(b"weights")
    engine = Engine(lambda engine, batch: None)
    engine.state.rank, engine.state.device = 0, torch.device("cpu")
    report = RunReport(
        str(tmp_path / "out/report.json"),
        "evaluating",
        seed=3,
        data={"cases": [1, 2]},
        metrics=[metric],
        weights=str(tmp_path / "model.pt"),
        settings={"fraction": 0.1},
    )
    report.attach(engine)
    engine.run([0, 0])
    content = json.loads((tmp_path / "out/report.json").read_text())
    assert content["metrics"]["dice_lesion_slices"]["mean"] == 1
    assert content["metrics"]["dice_lesion_slices"]["n"] == 2
    assert content["metrics"]["dice_all_slices"]["n"] == 6
    assert content["weights"]["sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert content["versions"]["torch"] == torch.__version__
    assert (content["seed"], content["fraction"], content["iterations"]) == (3, 0.1, 2)
    assert content["data"]["cases"] == {"items": 2, "cases": 2}
    assert "dice_lesion_slices" in capsys.readouterr().out
