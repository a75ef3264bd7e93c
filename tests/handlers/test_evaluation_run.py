"""Weights first, then the cases, then the report."""

import hashlib
import json

import pytest
import torch
from monai.data import DataLoader
from torch import nn

from monai_ext.engines.segmentation import SegmentationEvaluator
from monai_ext.errors import CheckpointError
from monai_ext.handlers import EvaluationRun


class Summed:
    """A metric as the report wants it."""

    def summary(self):
        return {}


@pytest.fixture
def evaluate(tmp_path):
    """``evaluate(weights)``: an evaluator of three cases after its run, and what its network gave for each."""

    def run(weights, **options):
        network = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.constant_(network.weight, 7.0)
        cases = [{"image": torch.full((1, 2, 2), float(i))} for i in (1, 2, 3)]
        handler = EvaluationRun("evaluation", str(tmp_path / "out"), network, weights, **options)
        evaluator = SegmentationEvaluator(torch.device("cpu"), cases, network, val_handlers=[handler])
        seen = []
        evaluator.add_event_handler(
            "ITERATION_COMPLETED", lambda e: seen.append(e.state.output[0]["pred"].max().item())
        )
        assert isinstance(evaluator.data_loader, DataLoader)
        evaluator.run()
        return json.loads((tmp_path / "out/report.json").read_text()), seen

    return run


def test_the_first_case_already_meets_the_weights_and_the_report_names_them(tmp_path, evaluate):
    path = tmp_path / "model.pt"
    torch.save({"weight": torch.full((1, 1, 1, 1), 2.0)}, path)
    report, seen = evaluate(str(path), settings={"threshold": 0.5})
    assert seen == [2.0, 4.0, 6.0]
    assert report["weights"] == {"file": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert report["data"] == {"cases": {"items": 3, "cases": 3}}
    assert (report["phase"], report["threshold"], report["iterations"]) == ("evaluation", 0.5, 3)
    assert (tmp_path / "out/report.html").is_file()


def test_without_weights_it_says_so_and_reports_none(evaluate, caplog):
    with caplog.at_level("WARNING"):
        report, seen = evaluate(None)
    assert "no weights loaded" in caplog.text
    assert seen == [7.0, 14.0, 21.0]
    assert "weights" not in report


def test_weights_that_do_not_fit_stop_it_before_the_first_case(tmp_path, evaluate):
    torch.save({"other": torch.zeros(3)}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError):
        evaluate(str(tmp_path / "model.pt"))
    assert not (tmp_path / "out/report.json").exists()


def test_metrics_are_handed_to_the_report(evaluate):
    asked = []

    class Asked(Summed):
        def summary(self):
            asked.append(True)
            return super().summary()

    evaluate(None, metrics=[Asked()])
    assert asked == [True]
