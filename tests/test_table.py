"""The table command on a tiny bundle whose training writes a number and whose evaluation reports it."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from monai_ext.data.io.json_file import write_json
from monai_ext.errors import ConfigError
from monai_ext.table import Row, RunError, format_table, summarize_row, table

METRIC = {"mean": 0.5, "ci_low": 0.4, "ci_high": 0.6, "n": 7, "groups": 3}

TRAIN = {
    "imports": ["$import monai_ext", "$import pathlib", "$import json"],
    "bundle_root": "$monai_ext.bundle.find_root('tiny')",
    "run_dir": "@bundle_root",
    "output_dir": "$@run_dir + '/output/train'",
    "model": "$@run_dir + '/model.pt'",
    "pretrained": "$@run_dir + '/pretrained.pt'",
    "phases": ["pretrain"],
    "pretrain": {},
    "device": "cpu",
    "val_fold": 2,
    "seed": 0,
    "dice": 0.5,
    "resume": False,
    "fail": False,
    "initialize": "$monai_ext.phases.start()",
    "training": [
        "$monai_ext.phases.run_earlier()",
        "$print('TRAINED', @dice, @seed, @pretrained, @resume)",
        "$pathlib.Path(@output_dir, 'last.pt').touch()",
        "$1 / (0 if @fail else 1)",
        "$pathlib.Path(@model).write_text(str(@dice + 0.1 * @seed))",
        "$pathlib.Path(@output_dir, 'report.json').write_text('{}')",
    ],
    "run": "@training",
}
PRETRAIN = {
    **{key: TRAIN[key] for key in ("imports", "bundle_root", "run_dir", "pretrained", "seed", "initialize")},
    "output_dir": "$@run_dir + '/output/pretrain'",
    "product": "@pretrained",
    "epochs": 1,
    "run": [
        "$print('PRETRAINED', @epochs, @seed, @pretrained)",
        "$pathlib.Path(@pretrained).parent.mkdir(parents=True, exist_ok=True)",
        "$pathlib.Path(@pretrained).touch()",
    ],
}
EVALUATE = {
    "imports": TRAIN["imports"],
    "bundle_root": TRAIN["bundle_root"],
    "run_dir": TRAIN["run_dir"],
    "output_dir": "$@run_dir + '/output/evaluate'",
    "model": TRAIN["model"],
    "section": "testing",
    "folds": None,
    "flips": 0,
    "value": "$float(pathlib.Path(@model).read_text())",
    "row": {"mean": "@value", "ci_low": "$@value - 0.01", "ci_high": "$@value + 0.01", "n": 7, "groups": 3},
    "initialize": "$monai_ext.phases.start()",
    "evaluating": [
        "$print('EVALUATED', @value, @section, @folds, @flips)",
        "$pathlib.Path(@output_dir, 'report.json').write_text(json.dumps({'metrics': {'dice_slices': @row}}))",
    ],
    "run": "@evaluating",
}


@pytest.fixture
def root(tmp_path):
    configs = tmp_path / "bundles/tiny/configs"
    (configs / "variants").mkdir(parents=True)
    for name, config in {
        "metadata": {},
        "train": TRAIN,
        "evaluate": EVALUATE,
        "pretrain": PRETRAIN,
        "demo": {"pretrain": {"epochs": 9}},
        "variants/better": {"_paper_": {"dice_*": 0.4213}, "dice": 0.7},
        "variants/scratch": {"pretrained": None, "dice": 0.2},
    }.items():
        (configs / f"{name}.json").write_text(json.dumps(config))
    return tmp_path


def command(root, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "monai_ext.table", "--bundle", "tiny", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.slow
def test_rows_are_trained_evaluated_and_not_done_twice(root):
    arguments = ["--rows", "better", "--seeds", "0,2", "--section", "validation", "--config", "demo", "--out", "t"]
    run = command(root, *arguments, "--flips", "3")
    assert run.returncode == 0, run.stdout + run.stderr
    trained = [line for line in run.stdout.splitlines() if line.startswith("TRAINED")]
    pretrained = trained[0].split()[3]
    folder = Path(pretrained).parent
    assert (folder.parents[1], folder.parent.name[:7], folder.name) == (root / "t", "shared-", "seed0")
    assert trained[0] == f"TRAINED 0.7 0 {folder / 'pretrained.pt'} False"
    assert f"PRETRAINED 9 0 {folder / 'pretrained.pt'}" in run.stdout
    assert trained[1].startswith(f"TRAINED 0.7 2 {folder.parent / 'seed2/pretrained.pt'}")
    assert "EVALUATED 0.7 training 2 3" in run.stdout
    row = json.loads((root / "t/table.json").read_text())["table"][0]
    assert row["values"] == pytest.approx([0.7, 0.9])
    # Student's t with one degree of freedom: 12.706 * s / sqrt(2), s = 0.2 / sqrt(2)
    assert row["mean"] - row["ci_low"] == pytest.approx(12.706 * 0.1, abs=1e-4)
    assert (row["n"], row["groups"], row["paper"], row["ci_over"]) == ([7], [3], 0.4213, "seeds")
    assert (root / "t/table.md").read_text().split("\n", 2)[2].strip() in run.stdout
    assert not (root / "bundles/tiny/model.pt").exists()

    again = command(root, *arguments, "--flips", "3")
    assert "TRAINED" not in again.stdout + again.stderr
    assert "EVALUATED" not in again.stdout
    assert (root / "t/table.md").read_text().split("\n", 2)[2].strip() in again.stdout


@pytest.mark.slow
def test_failed_row_sets_the_exit_code_and_is_resumed(root):
    configs = root / "bundles/tiny/configs"
    failing = json.loads((configs / "variants/scratch.json").read_text())
    (configs / "variants/wrong.json").write_text(json.dumps(failing | {"dcie": 1}))
    run = command(root, "--rows", "wrong")
    assert run.returncode == 2
    assert "'dice'" in run.stderr
    assert "training of wrong with seed 0 ended with code 2" in run.stderr
    (configs / "variants/wrong.json").write_text(json.dumps(failing))
    other = command(root, "--rows", "wrong")
    assert other.returncode == 2
    assert "holds a run with other settings" in other.stderr
    (configs / "variants/wrong.json").write_text(json.dumps(failing | {"dcie": 1}))
    (configs / "evaluate.json").write_text(json.dumps(EVALUATE | {"dcie": 1}))  # now a key of the bundle
    resumed = command(root, "--rows", "wrong,tiny")
    assert "TRAINED 0.2 0 None True" in resumed.stdout, resumed.stdout + resumed.stderr
    assert "TRAINED 0.5 0" in resumed.stdout
    assert "0.1900 to 0.2100 (cases)" in resumed.stdout


def test_what_is_finished_is_not_done_again(root, monkeypatch):
    """A stand-in for monai.bundle, which records its arguments and writes the reports."""
    asked = []

    def run(command):
        options = dict(argument[2:].split("=", 1) for argument in command if argument.startswith("--"))
        asked.append((command[1], options["output_dir"].split("/t/")[1], options.get("resume")))
        write_json({"metrics": {"dice": METRIC}}, f"{options['output_dir']}/report.json")
        return code

    monkeypatch.setattr("monai_ext.table.run_bundle_process", run)
    monkeypatch.chdir(root)
    code = 0
    text = table("tiny", ("tiny", "scratch"), (0, 1), out="t")
    assert [what for what, _, _ in asked] == ["training", "evaluating"] * 4
    assert text.count("| 0.5000 | 0.5000 to 0.5000 (seeds) |") == 2
    assert table("tiny", ("tiny", "scratch"), (0, 1), out="t") == text
    assert len(asked) == 8
    table("tiny", "scratch", 1, out="t", flips=1)  # another evaluation of the same training
    assert asked[8:] == [("evaluating", "scratch/seed1/testing", None)]
    table("tiny", "scratch", 1, out="t", section="validation")
    assert asked[9:] == [("evaluating", "scratch/seed1/validation", None)]
    (root / "t/scratch/seed1/output/train/report.json").unlink()  # as if training had been interrupted
    table("tiny", "scratch", 1, out="t", flips=1)
    assert asked[10:] == [
        ("training", "scratch/seed1/output/train", "True"),
        ("evaluating", "scratch/seed1/testing", None),
    ]
    with pytest.raises(ConfigError, match="other settings"):
        table("tiny", "scratch", 1, out="t", dice=0.3)
    code = 4
    with pytest.raises(RunError, match="training of better with seed 0 ended with code 4") as failure:
        table("tiny", "better", out="t")
    assert failure.value.exit_code == 4


def test_rows_share_a_pretraining_when_all_that_decides_it_is_equal(root):
    def place(name="tiny", **overrides):
        overlay = [root / f"bundles/tiny/configs/variants/{name}.json"] if name != "tiny" else []
        row = Row(name, root / "bundles/tiny", overlay, overrides)
        return row._shared(root / "t" / name / "seed0")

    plain = place()["pretrained"]
    assert place("better")["pretrained"] == plain
    assert place(dice=0.3)["pretrained"] == plain
    assert place(**{"pretrain#epochs": 5})["pretrained"] != plain
    assert place("scratch") == {}


def test_a_phase_that_reports_for_itself(root, monkeypatch):
    asked = []

    def run(command):
        options = dict(argument[2:].split("=", 1) for argument in command if argument.startswith("--"))
        asked.append((command[1], options["output_dir"], options["seed"], options.get("epochs")))
        write_json({"metrics": {"loss": METRIC}}, f"{options['output_dir']}/report.json")
        return 0

    monkeypatch.setattr("monai_ext.table.run_bundle_process", run)
    monkeypatch.chdir(root)
    text = table("tiny", "tiny", (0, 1), phase="pretrain", out="t", epochs=4)
    assert asked == [("run", f"{root}/t/tiny/seed{seed}/output/pretrain", str(seed), "4") for seed in (0, 1)]
    assert "0.5000" in text
    assert table("tiny", "tiny", (0, 1), phase="pretrain", out="t", epochs=4) == text
    assert len(asked) == 2
    with pytest.raises(ConfigError, match="no phase 'maps'"):
        table("tiny", "tiny", phase="maps")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ({"rows": "bettr"}, "did you mean 'better'?"),
        ({"rows": "better", "config": "dmo"}, "did you mean 'demo'?"),
        ({"rows": "better", "dicee": 1}, "did you mean 'dice'?"),
        ({"rows": "better", "model": "x"}, "--model is set for each row and seed"),
        ({"rows": "better", "seeds": "a"}, "--seeds must be whole numbers"),
        ({"rows": ""}, "names no row"),
    ],
)
def test_wrong_command_ends_before_any_work(root, monkeypatch, arguments, hint):
    monkeypatch.chdir(root)
    with pytest.raises(ConfigError, match=re.escape(hint)):
        table("tiny", **arguments)
    assert not (root / "bundles/tiny/output").exists()


def test_override_goes_to_the_configs_that_know_it(root):
    row = Row("tiny", root / "bundles/tiny", [], {"flips": 1, "pretrain#epochs": 3})
    assert row.overrides == {"train": {"pretrain#epochs": 3}, "evaluate": {"flips": 1}}


def test_undefined_means_are_shown_as_such():
    undefined = {"mean": None, "ci_low": None, "ci_high": None, "n": 0, "groups": 0}
    known = {"mean": 0.25, "ci_low": None, "ci_high": None, "n": 2, "groups": 1}
    (row,) = summarize_row("a", [{"dice": undefined}], {})
    assert row["mean"] is None
    assert "| a   | -    | -" in format_table([row])
    (row,) = summarize_row("a", [{"dice": undefined}, {"dice": known}], {"iou*": 0.1})
    assert (row["mean"], row["seeds"], row["ci_over"], row["paper"]) == (0.25, 1, None, None)
    assert math.isclose(summarize_row("a", [{"dice": known}] * 3, {})[0]["ci_high"], 0.25)
