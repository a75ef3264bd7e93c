"""What a bundle ships of a row: its weights, its settings, and a card with the table's figures."""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parents[1] / "ci"))
import ship_weights

from monai_ext.data.io.json_file import write_json
from monai_ext.data.io.record import metrics_behind, patients_behind, write_record

CONFIDENCE = {"mean": 0.5, "ci_low": 0.25, "ci_high": 0.75}


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A table with one trained row, and a bundle that has the row."""
    monkeypatch.setattr(ship_weights, "ROOT", tmp_path)
    variants = tmp_path / "bundles/tiny/configs/variants"
    variants.mkdir(parents=True)
    (variants / "small.json").write_text('{"_desc_": "a row", "pretrained": null, "run_dir": "rows", "lr": 0.5}')
    (tmp_path / "bundles/tiny/weights/mine").mkdir(parents=True)
    folder = tmp_path / "table"
    run = folder / "small/seed0"
    (run / "models").mkdir(parents=True)
    torch.save({"model": {"weight": torch.arange(4.0)}}, run / "models/model.pt")
    (folder / "small/plan.json").write_text('{"lr": 0.1, "width": 8}')
    write_record(run / "models/model.pt", {"settings": {"lr": 0.1}, "data": "/home", "patients": {"train": ["c"]}})
    (run / "output/train").mkdir(parents=True)
    (run / "output/train/report.json").write_text(json.dumps({"data": {"train": {"cases": 7}}, "iterations": 120}))
    entries = [
        {
            "row": "small",
            "metric": "dice",
            "mean": 0.51,
            "difference": {"mean": 0.1, "ci_low": -0.1, "ci_high": 0.3},
        },
        {"row": "other", "metric": "dice", "n": 9, **CONFIDENCE},
    ]
    content = {"bundle": "tiny", "section": "testing", "minutes": 15, "against": "other", "table": entries}
    content["overrides"] = {"dataset_dir": "/data", "num_labelled": 7}
    (folder / "table.json").write_text(json.dumps(content))
    (variants.parent / "evaluate.json").write_text('{"dataset_dir": null, "model": null, "output_dir": null}')

    def evaluate(command):
        options = dict(argument[2:].split("=", 1) for argument in command if argument.startswith("--"))
        assert (command[:2], options["section"], options["dataset_dir"]) == (["run", "evaluating"], "testing", "/data")
        assert "num_labelled" not in options  # evaluate.json has none
        assert Path(options["model"]).is_file()
        assert options["config_file"].endswith("weights/mine/overlay.json']")
        found = {"dice": {"n": 9, **CONFIDENCE}, "empty": {"mean": None, "ci_low": None, "n": 0}}
        write_json({"metrics": found}, Path(options["output_dir"]) / "report.json")
        (Path(options["output_dir"]) / "cases.csv").write_text("case,patient,dice\nb1,b,0.2\na1,a,0.3\nb2,b,0.4\n")
        return 0

    monkeypatch.setattr(ship_weights, "run_bundle_process", evaluate)
    return folder


def test_weights_settings_and_card(table, tmp_path):
    about = tmp_path / "bundles/tiny/weights/mine/about.md"
    about.write_text("# mine\n\nFor tests.\n")
    place = ship_weights.ship(table, "small", "mine")
    weight = load_file(place / "model.safetensors")["weight"]
    assert (weight.tolist(), weight.dtype) == ([0, 1, 2, 3], torch.half)
    assert patients_behind(place / "model.safetensors") == {"c"}
    assert metrics_behind(place / "model.safetensors") == {"dice": 0.5}
    assert "/home" not in (place / "model.record.json").read_text()
    assert json.loads((place / "overlay.json").read_text()) == {"lr": 0.5, "width": 8}
    card = (place / "model_card.md").read_text()
    assert card.startswith("# mine\n\nFor tests.\n\n## Figures\n")
    assert "| dice | 0.500 | 0.250 to 0.750 | 9 | +0.100 | -0.100 to +0.300 |" in card
    assert card.count("| dice |") == 1
    assert "Never seen: `a`, `b`." in card
    assert "--rows small,other --minutes 15 --section testing" in card
    assert "from 7 cases in 120 steps" in card
    assert ship_weights.content_hash(place / "model.safetensors") in card


def test_nothing_is_shipped_without_a_word_about_it(table):
    with pytest.raises(SystemExit, match=r"about\.md is missing"):
        ship_weights.ship(table, "small", "mine")


def test_large_weights_stay_out(table, tmp_path, monkeypatch):
    (tmp_path / "bundles/tiny/weights/mine/about.md").write_text("# mine")
    monkeypatch.setattr(ship_weights, "LARGEST", 10)
    with pytest.raises(SystemExit, match="keeps at most"):
        ship_weights.ship(table, "small", "mine")
