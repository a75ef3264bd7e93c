"""Weights first, then the cases, then the report."""

import csv
import hashlib
import json
from pathlib import Path

import pytest
import torch
from monai.data import DataLoader
from torch import nn

from monai_ext.engines.segmentation import SegmentationEvaluator
from monai_ext.errors import CheckpointError
from monai_ext.handlers import EvaluationRun
from monai_ext.metrics import SliceDice


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


def test_each_case_has_a_row(tmp_path):
    """By id and patient, over the slices of a case; an undefined metric is empty."""
    sizes = (2, 0, 3)
    cases = [
        {
            "id": f"case{i}",
            "patient": f"p{i // 2}",
            "image": torch.full((1, 4, 4, 3), 1.0),
            "label": torch.zeros(1, 4, 4, 3),
        }
        for i in range(3)
    ]
    for case, size in zip(cases, sizes):
        case["label"][:, :size, :, 0] = 1
    network, metric = nn.Conv3d(1, 1, 1, bias=False), SliceDice()
    nn.init.constant_(network.weight, 1.0)
    handler = EvaluationRun("evaluation", str(tmp_path / "out"), network, None, [metric])
    evaluator = SegmentationEvaluator(
        torch.device("cpu"), cases, network, key_val_metric={"val_dice": metric}, val_handlers=[handler]
    )
    evaluator.run()
    rows = list(csv.DictReader((tmp_path / "out/cases.csv").read_text().splitlines()))
    assert [(row["case"], row["patient"]) for row in rows] == [("case0", "p0"), ("case1", "p0"), ("case2", "p1")]
    overlap = [4 * size for size in sizes]
    whole = [f"{2 * n / (n + 48):.6g}" if n else "" for n in overlap]
    assert [row["dice_lesion_volumes"] for row in rows] == whole
    assert [row["dice_lesion_slices"] for row in rows] == [f"{2 * n / (n + 16):.6g}" if n else "" for n in overlap]
    report = json.loads((tmp_path / "out/report.json").read_text())["metrics"]
    assert report["dice_lesion_volumes"]["mean"] == pytest.approx(sum(float(v) for v in whole if v) / 2, rel=1e-5)


def test_the_weights_of_an_ensemble_are_listed_and_the_first_ones_are_loaded(tmp_path, evaluate):
    paths = []
    for value in (2.0, 3.0):
        paths.append(str(tmp_path / f"{value}.pt"))
        torch.save({"weight": torch.full((1, 1, 1, 1), value)}, paths[-1])
    report, seen = evaluate(paths)
    assert seen == [2.0, 4.0, 6.0]
    assert report["ensemble"] == {path: hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths}
    assert "ensemble" not in evaluate(paths[1])[0]
