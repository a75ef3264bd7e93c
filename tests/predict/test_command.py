"""The function and the command: what they return, print and refuse."""

import logging
import signal
import sys
from pathlib import Path

import commands
import pytest

import monai_ext
from monai_ext.errors import CheckpointError, ConfigError, DataError
from monai_ext.predict import Outcome, main, predict

IDS = [f"s{number}" for number in range(5)]


def states(outcomes):
    return {outcome.id: outcome.state for outcome in outcomes}


def test_in_python_by_one_call(tiny, tmp_path, capsys):
    hook, term = sys.excepthook, signal.getsignal(signal.SIGTERM)
    level = logging.getLogger("monai.bundle.scripts").level
    found = monai_ext.predict(tmp_path / "scans", tmp_path / "out", bundle=tiny)
    assert all(isinstance(outcome, Outcome) for outcome in found)
    assert states(found) == dict.fromkeys(IDS, "done")
    assert sorted(path.name for path in tmp_path.glob("out/*/*_seg.nii.gz")) == [f"{case}_seg.nii.gz" for case in IDS]
    assert (sys.excepthook, signal.getsignal(signal.SIGTERM)) == (hook, term)
    assert logging.getLogger("monai.bundle.scripts").level == level
    assert "5 studies found" in capsys.readouterr().out
    assert states(predict(tmp_path / "scans", tmp_path / "out", tiny)) == dict.fromkeys(IDS, "kept")


def test_items_and_overlays_and_settings(tiny, tmp_path):
    items = [{"id": "x", "image": str(tmp_path / "scans/s3.nii.gz")}]
    for settings, state in [({}, "done"), ({}, "kept"), ({"mirror": 0}, "done"), ({"mirror": [0]}, "kept")]:
        assert states(predict(items, tmp_path / "out", tiny, **settings)) == {"x": state}
    assert states(predict(items, tmp_path / "out", tiny, config="flipped")) == {"x": "kept"}
    assert states(predict(items, tmp_path / "out", tiny, amp="no")) == {"x": "done"}


def test_weights_are_one_or_an_ensemble(tiny, tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.pt").write_bytes(name.encode())
    one, two = str(tmp_path / "a.pt"), str(tmp_path / "b.pt")
    items = [{"id": "x", "image": str(tmp_path / "scans/s3.nii.gz")}]
    for weights, state in [(one, "done"), (one, "kept"), (two, "done"), (f"{one},{two}", "done"), ([one, two], "kept")]:
        assert states(predict(items, tmp_path / "out", tiny, weights=weights)) == {"x": state}
    with pytest.raises(CheckpointError, match=r"none.pt: no such file"):
        predict(items, tmp_path / "out", tiny, weights=[one, tmp_path / "none.pt"])


def test_weights_that_come_with_the_bundle_bring_their_settings(tiny, tmp_path):
    shipped = Path(tiny) / "weights/small"
    shipped.mkdir(parents=True)
    (shipped / "model.safetensors").write_bytes(b"small")
    (shipped / "overlay.json").write_text('{"mirror": [0]}')
    items = [{"id": "x", "image": str(tmp_path / "scans/s3.nii.gz")}]
    assert states(predict(items, tmp_path / "out", tiny, weights="small")) == {"x": "done"}
    same = {"weights": shipped / "model.safetensors", "mirror": [0]}
    assert states(predict(items, tmp_path / "out", tiny, **same)) == {"x": "kept"}
    with pytest.raises(ConfigError, match="has no weights 'smal': there are small"):
        predict(items, tmp_path / "out", tiny, weights="smal")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bundle": "tinny"}, "cannot find the bundle tinny"),
        ({"config": "fliped"}, "did you mean 'flipped'"),
        ({"miror": [0]}, "did you mean 'mirror'"),
        ({"proceses": 2}, "did you mean --processes"),
        ({"model": "a.pt"}, "give --weights"),
        ({"datalist": []}, "give INPUT"),
        ({"processes": 0}, "whole number from 1"),
        ({"section": "testing"}, "INPUT is none"),
        ({"series": "t2w"}, "not MODALITY=WORDS"),
        ({"output": "scans"}, "one folder"),
    ],
)
def test_what_is_refused_before_any_work(tiny, tmp_path, options, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        predict(**{"input": "scans", "output": "out", "bundle": tiny, **options})
    assert not (tmp_path / "out").exists()


def test_one_study_that_cannot_be_done_is_an_error_and_one_of_several_is_not(tiny, tmp_path):
    (tmp_path / "scans/s2.nii.gz").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"s2\.nii\.gz"):
        predict(tmp_path / "scans/s2.nii.gz", tmp_path / "alone", tiny)
    found = predict(tmp_path / "scans", tmp_path / "out", tiny)
    assert states(found) == dict.fromkeys(IDS, "done") | {"s2": "failed"}
    assert found[2].file == str(tmp_path / "scans/s2.nii.gz")
    assert found[2].cause


def test_the_command_prints_a_summary_and_has_an_exit_code(tiny, tmp_path, capsys):
    main(str(tmp_path / "scans"), str(tmp_path / "out"), str(tiny))
    assert "5 studies: 5 done" in capsys.readouterr().out
    (tmp_path / "scans/s2.nii.gz").write_bytes(b"torn")
    with pytest.raises(SystemExit) as end:
        main(str(tmp_path / "scans"), str(tmp_path / "out"), str(tiny))
    assert end.value.code == 6
    out = capsys.readouterr().out
    assert "5 studies: 4 done before, 1 failed" in out
    assert f"s2: {tmp_path}/scans/s2.nii.gz: " in out


def test_ctrl_c_ends_with_a_line(tiny, tmp_path, monkeypatch, capsys):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("monai_ext.predict.command.infer", interrupted)
    with pytest.raises(SystemExit) as end:
        main(str(tmp_path / "scans"), str(tmp_path / "out"), str(tiny))
    assert end.value.code == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_help_shows_options_examples_and_exit_codes():
    run = commands.run("-m", "monai_ext.predict", "--help")
    assert run.returncode == 0
    for part in ("--weights", "--processes", "--series", "Examples:", "Exit codes: 0", "--dicom_seg", "INPUT"):
        assert part in run.stdout
    assert "Optional[" not in run.stdout
