import hashlib
import json

import matplotlib.image
import torch
from ignite.engine import Engine, Events

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


def test_a_picture_that_another_process_is_writing_does_not_end_the_report(tmp_path):
    engine = Engine(lambda engine, batch: None)
    engine.state.rank, engine.state.device = 0, torch.device("cpu")
    RunReport(str(tmp_path / "report.json"), "inference").attach(engine)
    picture = tmp_path / "preview/case.png"
    picture.parent.mkdir()
    hidden = picture.with_name(".other.png.0bbfd16a-5098-7a02e658.png")  # listed, and renamed before it is looked at
    hidden.symlink_to("renamed")

    @engine.on(Events.STARTED)
    def draw(engine):
        matplotlib.image.imsave(picture, [[[0.0, 0.5, 1.0]]])

    engine.run([0])
    page = (tmp_path / "report.html").read_text()
    assert page.count("<img") == 1
