"""The command as a user types it."""

import csv
import json

import commands
import pytest

from monai_ext.data import load_labelled
from monai_ext.errors import CheckpointError, ConfigError, DataError
from monai_ext.select import select
from monai_ext.select.command import main


def run(scans, bundle, overlay, out, *more):
    command = ["-m", "monai_ext.select", "--bundle", bundle, "--config", overlay, "--out", str(out)]
    command += ["--datalist", f"{scans}/datalist.json", "--dataset_dir", str(scans), "--device", "cpu", *more]
    return commands.run(*command)


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def kind(patient):
    return int(int(patient[1:]) >= 6)


@pytest.mark.parametrize("bundle", ["amlp", "anatomask"])
def test_the_pretrained_encoder_chooses(scans, overlay, weights, tmp_path, bundle):
    options = ["--num", "2", "--labelled", "none", "--pretrained", weights(bundle)]
    out = tmp_path / "out/chosen.json"
    done = run(scans, bundle, overlay(bundle), out, *options)
    assert done.returncode == 0, done.stderr
    assert "9 patients, 0 with labels; compared by encoder" in done.stdout
    assert "scan/s" in done.stderr
    found = rows(out.with_suffix(".csv"))
    assert sorted(kind(row["patient"]) for row in found[:2]) == [0, 1]
    assert out.with_suffix(".png").stat().st_size > 10_000
    chosen = [row["patient"] for row in found[:2]]
    assert {item["id"] for item in json.loads(out.read_text())["training"] if item["fold"]} == set(chosen)
    assert f"--pretrained {options[-1]}" in done.stdout
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/features").iterdir()}
    more = {"num": 2, "labelled": "none", "pretrained": options[-1], "bundle": bundle, "config": overlay(bundle)}
    select(**options_of(scans, overlay, tmp_path, **more, out=tmp_path / "out/second.json"))
    assert rows(tmp_path / "out/second.csv") == found
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out/features").iterdir()} == kept


def options_of(scans, overlay, tmp_path, **more):
    given = {"bundle": "amlp", "datalist": scans / "datalist.json", "dataset_dir": scans, "config": overlay("amlp")}
    return {**given, "out": tmp_path / "chosen.json", "device": "cpu", "num": 2, **more}


def test_rounds_know_what_is_labelled(scans, overlay, weights, tmp_path):
    options = options_of(scans, overlay, tmp_path, run_dir=str(tmp_path))
    first = select(**options, labelled="none", studies=tmp_path / "studies")  # no weights: by statistics
    linked = sorted((tmp_path / "studies").iterdir())
    assert [path.resolve().name for path in linked] == [f"{patient}.nii.gz" for patient in first.chosen]
    assert sorted(map(kind, first.chosen)) == [0, 1]
    assert set(first.rows()[0]) >= {"rank", "patient", "reason", "distance", "outlier"}
    second = select(
        **{**options, "datalist": tmp_path / "chosen.json", "out": tmp_path / "two.json"}, labelled="training"
    )
    assert second.labelled == sorted(first.chosen)
    assert not set(second.chosen) & set(first.chosen)
    written = json.loads((tmp_path / "two.json").read_text())
    assert {i["id"] for i in written["training"] if i["fold"]} == {*first.chosen, *second.chosen}
    third = select(**{**options, "weights": weights("amlp"), "labelled": "p09"})
    assert third.uncertainty is not None
    assert "uncertainty" in rows(tmp_path / "chosen.csv")[0]
    assert third.labelled == ["p09"]


def test_labels_are_not_needed_and_do_not_matter(scans, overlay, tmp_path, capsys):
    first = select(**options_of(scans, overlay, tmp_path, labelled="none", by="statistics"))
    known = (
        load_labelled(tmp_path / "chosen.json", scans, None, 0)
        if any(
            "label" in item for item in json.loads((tmp_path / "chosen.json").read_text())["training"] if item["fold"]
        )
        else []
    )
    assert {item["id"] for item in known} <= set(first.chosen)
    content = json.loads((scans / "datalist.json").read_text())
    for item in [item for items in (content["training"], content["unlabelled"]) for item in items]:
        item.pop("label", None)
    (scans / "datalist.json").write_text(json.dumps(content))
    assert "validation fold" not in capsys.readouterr().out
    assert select(**options_of(scans, overlay, tmp_path, by="statistics")).chosen == first.chosen
    assert "no patient of the validation fold 0 has a label" in capsys.readouterr().out


def test_broken_scans_are_named_and_left_where_they_are(scans, overlay, tmp_path, capsys):
    (scans / "p03.nii.gz").write_bytes(b"torn")
    choice = select(**options_of(scans, overlay, tmp_path, labelled="none", by="statistics"))
    assert list(choice.broken) == ["p03"]
    assert "cannot be used: p03: " in capsys.readouterr().out
    assert rows(tmp_path / "chosen.csv")[-1]["state"] == "broken"
    assert "p03" in [item["id"] for item in json.loads((tmp_path / "chosen.json").read_text())["unlabelled"]]
    for path in scans.glob("p*.nii.gz"):
        path.write_bytes(path.name.encode())
    with pytest.raises(DataError, match=r"none of 9 patients can be looked at; case p00: "):
        select(**options_of(scans, overlay, tmp_path, labelled="none", by="statistics"))


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"bundle": "amlpp"}, ConfigError, "cannot find the bundle"),
        ({"num": 0}, ConfigError, "whole number from 1"),
        ({"num": 20}, ConfigError, "--num is 20, but there are 7 patients to choose from"),
        ({"by": "encodr"}, ConfigError, "none of encoder, statistics"),
        ({"labeled": "none"}, ConfigError, "did you mean --labelled"),
        ({"img_sise": [32, 32]}, ConfigError, "img_size"),
        ({"outliers": "maybe"}, ConfigError, "--outliers must be true or false"),
        ({"out": "scans/datalist.json"}, ConfigError, "--out is --datalist"),
        ({"out": "list.csv"}, ConfigError, "ends with .json"),
        ({"config": "plam.json"}, ConfigError, "no overlay"),
        ({"weights": "none.pt"}, CheckpointError, "no such file"),
        ({"by": "encoder", "pretrained": "none.pt"}, CheckpointError, "no pretrained weights"),
        ({"by": "encoder", "bundle": "adunet_anomaly", "config": ""}, ConfigError, "give --by statistics"),
        ({"datalist": "none.json"}, DataError, "no such datalist"),
    ],
)
def test_what_is_refused(scans, overlay, tmp_path, monkeypatch, more, error, message):
    monkeypatch.chdir(tmp_path)
    before = (scans / "datalist.json").read_bytes()
    with pytest.raises(error, match=message):
        select(**options_of(scans, overlay, tmp_path, run_dir=str(tmp_path), **more))
    assert not (tmp_path / "chosen.json").exists()
    assert (scans / "datalist.json").read_bytes() == before


def test_exit_codes_of_the_command(scans, overlay, tmp_path):
    wrong = run(scans, "amlp", overlay("amlp"), tmp_path / "a.json", "--num", "50", "--by", "statistics")
    assert (wrong.returncode, wrong.stderr.splitlines()[-1][:18]) == (2, "error: --num is 50")
    told = commands.run("-m", "monai_ext.select", "--help")
    for part in ("--labelled", "Examples:", "Exit codes: 0", "--weights", "DATASET_DIR"):
        assert part in told.stdout


def test_ctrl_c_ends_with_a_line(scans, overlay, tmp_path, monkeypatch, capsys):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("monai_ext.select.command.measure", interrupted)
    with pytest.raises(SystemExit) as end:
        main(**options_of(scans, overlay, tmp_path, by="statistics"))
    assert end.value.code == 130
    assert "the same command goes on" in capsys.readouterr().err
