"""What is kept of a table."""

import csv
import json
import re
from multiprocessing import get_context
from pathlib import Path

import pytest

from monai_ext.data.io.json_file import write_json
from monai_ext.errors import ConfigError
from monai_ext.table import Cell, Record, table

ABOUT = {"bundle": "tiny", "minutes": 5, "draws": [0], "overrides": {"num_labelled": 2, "dataset_dir": "/a"}}


def report(folder, dice):
    """An evaluation of two cases."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json({"metrics": {"dice": {"mean": dice}}}, folder / "report.json")
    with open(folder / "cases.csv", "w", newline="") as file:
        csv.writer(file).writerows([["case", "patient", "dice"], ["a", "a", dice], ["b", "b", dice + 0.1]])
    return folder / "report.json"


def test_what_is_written_is_read_again(tmp_path):
    record = Record.read(tmp_path / "kept", ABOUT)
    record.put("mine", Cell(0, 1), report(tmp_path / "one", 0.5))
    record.put("mine", Cell(1, 1), report(tmp_path / "two", 0.7))
    write_json({"iterations": 9, "seconds": 4.5, "processor_seconds": 4.0}, tmp_path / "train.json")
    write_json({"iterations": 3, "seconds": 2.5}, tmp_path / "self_train.json")
    phases = [tmp_path / "train.json", tmp_path / "self_train.json"]
    record.put("mine", Cell(0, 1), report(tmp_path / "three", 0.6), phases)  # the same cell again
    read = Record.read(tmp_path / "kept", ABOUT)
    assert read.metrics("mine", Cell(0, 1)) == {"dice": {"mean": 0.6}}
    assert [(one["steps"], one["seconds"]) for one in read.cells] == [(None, None), (12, 7.0)]
    assert read.cells[1]["processor_seconds"] is None  # not known of all phases
    assert [line["dice"] for line in read.lines("mine", Cell(0, 1))] == ["0.6", "0.7"]
    assert len(read.values.rows) == 4
    assert read.metrics("mine", Cell(0, 1, choice="encoder")) is None
    assert read.metrics("other", Cell(0, 1)) is None
    assert read.lines("mine", Cell(0, 2)) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"minutes": 6}, "minutes 5 (now 6)"),
        ({"overrides": {"num_labelled": 3}}, "overrides {'num_labelled': 2} (now {'num_labelled': 3})"),
        ({"draws": [0, 1], "overrides": {"num_labelled": 2, "dataset_dir": "/b"}}, None),
    ],
)
def test_a_record_of_other_settings_is_refused(tmp_path, change, named):
    """A table may grow by draws and move to another machine; its cells were made with the same settings."""
    record = Record.read(tmp_path, ABOUT)
    record.put("mine", Cell(), report(tmp_path / "one", 0.5))
    if named is None:
        assert Record.read(tmp_path, ABOUT | change).metrics("mine", Cell())
    else:
        with pytest.raises(ConfigError, match=re.escape(named)):
            Record.read(tmp_path, ABOUT | change)


def test_processes_that_share_a_record_keep_the_cells_of_all(tmp_path):
    """One trains seed 0, the other seed 1; each began before the other had finished anything."""
    one, other = (Record.read(tmp_path, ABOUT) for _ in range(2))
    one.put("mine", Cell(0), report(tmp_path / "one", 0.5))
    other.put("mine", Cell(1), report(tmp_path / "two", 0.7))
    assert one.metrics("mine", Cell(1)) is None
    one.refresh()
    assert one.metrics("mine", Cell(1)) == {"dice": {"mean": 0.7}}
    one.put("mine", Cell(0), report(tmp_path / "three", 0.6))
    other.forget("yours")
    kept = Record.read(tmp_path, ABOUT)
    assert [one["seed"] for one in kept.cells] == [1, 0]
    assert [line["dice"] for line in kept.values.rows] == ["0.7", "0.7999999999999999", "0.6", "0.7"]


def test_processes_write_a_record_one_after_the_other(tmp_path):
    made, fork = report(tmp_path / "one", 0.5), get_context("fork")
    begin = fork.Barrier(2)

    def write(row):
        record = Record.read(tmp_path / "kept", ABOUT)
        begin.wait(60)
        for draw in range(40):
            record.put(row, Cell(0, draw), made)

    running = [fork.Process(target=write, args=(row,)) for row in ("mine", "yours")]
    for process in running:
        process.start()
    for process in running:
        process.join(120)
    assert [process.exitcode for process in running] == [0, 0]
    record = Record.read(tmp_path / "kept", ABOUT)
    assert len(record.cells) == 80
    assert len(record.values.rows) == 160


def test_what_an_earlier_table_left_in_a_folder_is_no_part_of_a_new_one(tmp_path):
    for dice in (0.5, 0.6):
        record = Record(tmp_path)
        record.put("mine" if dice == 0.5 else "yours", Cell(), report(tmp_path / "one", dice))
    assert [cell["row"] for cell in json.loads((tmp_path / "cells.json").read_text())["cells"]] == ["yours"]


def test_a_table_goes_on_from_its_record_when_its_trainings_are_gone(root, monkeypatch):
    train = json.loads((root / "bundles/tiny/configs/train.json").read_text())
    more = {"label_seed": 0, "datalist": "", "dataset_dir": "", "num_labelled": None}
    (root / "bundles/tiny/configs/train.json").write_text(json.dumps(train | more))
    write_json({"_paper_": {"dice": 0.4213}}, root / "bundles/tiny/configs/variants/better.json")
    trained, planned = [], []

    def run(command):
        options = dict(argument[2:].split("=", 1) for argument in command if argument.startswith("--"))
        trained.append((command[1], str(Path(options["output_dir"]).relative_to(root))))
        report(root / options["output_dir"], 0.1 * int(options.get("label_seed", 0)))
        return 0

    def plan(bundle, **options):
        planned.append(Path(options["out"]).parent)
        write_json({"dice": 0.8}, options["out"])

    monkeypatch.setattr("monai_ext.table.command.plan", plan)
    monkeypatch.setattr("monai_ext.table.row.run_bundle_process", run)
    monkeypatch.chdir(root)
    options = {"minutes": 5, "datalist": "d.json", "num_labelled": 2, "record": "kept"}
    table("tiny", ("tiny", "better"), draws=(0, 1), out="t1", dataset_dir="a", **options)
    assert len(trained) == 8
    assert planned == [root / "kept" / row for row in ("tiny", "better")]
    assert not (root / "t1/table.md").exists()
    assert json.loads((root / "kept/table.json").read_text())["overrides"] == {"num_labelled": 2}
    text = table("tiny", ("tiny", "better"), draws=(0, 1, 2), out="t2", dataset_dir="b", against="tiny", **options)
    assert trained[8:] == [
        (what, f"t2/{row}/draw2_seed0/{place}")
        for row in ("tiny", "better")
        for what, place in (("training", "output/train"), ("evaluating", "testing"))
    ]
    assert len(planned) == 2
    whole = table("tiny", ("tiny", "better"), draws=(0, 1, 2), out="t3", dataset_dir="b", against="tiny", **options)
    assert (whole, len(trained)) == (text, 12)
    assert (root / "kept/cases.csv").read_text().count("\n") == 1 + 2 * 3 * 2
    part = table("tiny", "tiny", draws=0, out="t3", dataset_dir="b", **options)  # a part is printed, all is kept
    assert part.count("\n| ") < whole.count("\n| ")
    assert len(json.loads((root / "kept/cells.json").read_text())["cells"]) == 6
    assert (root / "kept/table.md").read_text().count("\n| ") == whole.count("\n| ")
    entries = {entry["row"]: entry for entry in json.loads((root / "kept/table.json").read_text())["table"]}
    assert {row: (entry["paper"], entry["draws"]) for row, entry in entries.items()} == {
        "tiny": (None, 3),
        "better": (0.4213, 3),
    }


def test_a_row_whose_overlay_was_edited_is_refused_until_it_is_trained_again(root, monkeypatch):
    """Otherwise old and new cells would be averaged as one row."""
    trained = []

    def run(command):
        options = dict(argument[2:].split("=", 1) for argument in command if argument.startswith("--"))
        trained.append((command[1], str(Path(options["output_dir"]).relative_to(root))))
        report(root / options["output_dir"], 0.5)
        return 0

    monkeypatch.setattr("monai_ext.table.row.run_bundle_process", run)
    monkeypatch.chdir(root)
    overlay = root / "bundles/tiny/configs/variants/better.json"
    settings = json.loads(overlay.read_text())
    table("tiny", ("tiny", "better"), seeds=(0, 1), out="t1", record="kept")
    overlay.write_text(json.dumps(settings | {"_desc_": "told anew"}))
    table("tiny", ("tiny", "better"), seeds=(0, 1), out="t2", record="kept")
    assert len(trained) == 8
    overlay.write_text(json.dumps(settings | {"dice": 0.9}))
    before = (root / "kept/cells.json").read_bytes()
    with pytest.raises(ConfigError, match="row better that were trained before its overlays were edited"):
        table("tiny", ("tiny", "better"), seeds=(0, 1), out="t2", record="kept")
    assert (len(trained), (root / "kept/cells.json").read_bytes()) == (8, before)
    table("tiny", "tiny", seeds=(0, 1), out="t2", record="kept")  # another row may go on
    with pytest.raises(ConfigError, match="--again better forgets rows of a --record that are trained now: tiny"):
        table("tiny", "tiny", seeds=(0, 1), out="t2", record="kept", again="better")
    (root / "kept/better").mkdir(exist_ok=True)
    write_json({}, root / "kept/better/plan_fold1.json")
    table("tiny", ("tiny", "better"), seeds=(0, 1), out="t2", record="kept", again="better")
    assert trained[8:] == [
        (what, f"t2/better/seed{seed}/{place}")
        for seed in (0, 1)
        for what, place in (("training", "output/train"), ("evaluating", "testing"))
    ]
    assert not (root / "kept/better/plan_fold1.json").exists()
    assert len(json.loads((root / "kept/cells.json").read_text())["cells"]) == 4
    assert (root / "kept/cases.csv").read_text().count("\n") == 1 + 2 * 2 * 2
