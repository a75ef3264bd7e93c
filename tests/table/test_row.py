"""Which runs a row needs, and what of them rows share."""

from pathlib import Path

import pytest

from monai_ext.table import Cell, Row
from monai_ext.table.row import RunError

ROOT = Path(__file__).parents[2]


def test_rows_share_a_pretraining_when_all_that_decides_it_is_equal(root):
    def place(name="tiny", **overrides):
        cell = Cell()
        overlay = [root / f"bundles/tiny/configs/variants/{name}.json"] if name != "tiny" else []
        row = Row(name, root / "bundles/tiny", overlay, overrides)
        return row.shared(root / "t" / name / cell.name, cell)

    plain = place()["pretrained"]
    assert place("better")["pretrained"] == plain
    assert place(dice=0.3)["pretrained"] == plain
    assert place(**{"pretrain#epochs": 5})["pretrained"] != plain
    assert place("scratch") == {}


def test_tables_of_two_phases_share_generators(tmp_path):
    """A table of maps teaches the generators that a table of segmenters in the same folder needs, and no others."""
    bundle = ROOT / "bundles/adunet_anomaly"

    def places(phase, *rows, **overrides):
        overlays = [bundle / f"configs/{name}.json" for name in ("reduced", *rows)]
        return Row("r", bundle, overlays, overrides, phase).shared(tmp_path / "t/r/seed0", Cell())

    maps = places("maps", "variants/reduced_restorer")
    segmenter = places("train", "reduced_segmenter", "variants/reduced_restorer")
    assert maps["generators"] == segmenter["generators"]
    assert segmenter["maps_dir"] != segmenter["generators"].with_name("maps_dir")  # sections decide the maps alone
    others = [
        places("train", "variants/reduced_dense"),
        places("train", "variants/reduced_restorer", "variants/insample_maps"),
        places("train", "variants/reduced_restorer", **{"reconstruct#lr": 0.1}),
    ]
    assert len({str(place["generators"]) for place in (maps, *others)}) == 4


def test_draws_share_a_pretraining_and_folds_do_not(root):
    row = Row("tiny", root / "bundles/tiny", [], {})
    cells = {cell: row.shared(root / "t/tiny" / cell.name, cell)["pretrained"] for cell in CELLS}
    assert cells[Cell(0, 1, 2)] == cells[Cell(0, 5, 2)]
    assert len({cells[Cell(0, 1, 2)], cells[Cell(1, 1, 2)], cells[Cell(0, 1, 3)]}) == 3


@pytest.mark.parametrize(("bundle", "number"), [("prostate_mae", 2), ("amlp", 1)])
def test_draws_share_no_pretraining_that_knows_their_lesions(tmp_path, bundle, number):
    row = Row(bundle, ROOT / "bundles" / bundle, [], {"num_labelled": 2})
    drawn = [Cell(0, draw) for draw in (0, 1)]
    assert len({row.shared(tmp_path / bundle / cell.name, cell)["pretrained"] for cell in drawn}) == number


CELLS = [Cell(0, 1, 2), Cell(0, 5, 2), Cell(1, 1, 2), Cell(0, 1, 3)]


def test_names_and_settings_of_a_cell():
    assert [cell.name for cell in (Cell(), Cell(3, 1), Cell(3, 1, 2))] == ["seed0", "draw1_seed3", "fold2_draw1_seed3"]
    assert Cell(3, 1, 2).settings == {"val_fold": 2, "label_seed": 1, "seed": 3}
    assert Cell(3).settings == {"seed": 3}


def test_override_goes_to_the_configs_that_know_it(root):
    row = Row("tiny", root / "bundles/tiny", [], {"flips": 1, "pretrain#epochs": 3})
    assert row.overrides == {"train": {"pretrain#epochs": 3}, "evaluate": {"flips": 1}}


@pytest.mark.parametrize("row", ["self_trained", None])
def test_a_row_is_judged_after_the_last_of_its_phases(tmp_path, monkeypatch, row):
    """An interrupted row goes on until the report of the phase after the training is there."""
    bundle, calls = ROOT / "bundles/amlp", []
    overlays = [bundle / f"configs/variants/{row}.json"] if row else []
    phase = "self_train" if row else "train"

    def run(command):
        options = dict(word[2:].split("=", 1) for word in command[2:])
        calls.append((command[1], options))
        written = ["train"] if len(calls) == 1 else ["train", phase]
        for name in written if command[1] == "training" else ["testing"]:
            folder = tmp_path / "t/r/seed0" / ("output" if command[1] == "training" else "") / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "report.json").write_text("{}")
        return 7 if len(calls) == 1 else 0

    monkeypatch.setattr("monai_ext.table.row.run_bundle_process", run)

    def go():
        return Row("r", bundle, overlays, {"num_labelled": 2}).run(tmp_path / "t/r/seed0", Cell(), "testing")

    with pytest.raises(RunError):
        go()
    go()
    expected = ["training", "training", "evaluating"] if row else ["training", "evaluating"]
    assert [name for name, _ in calls] == expected
    assert "model" not in calls[-1][1]
    assert ("resume", "True") in calls[1][1].items() or not row
