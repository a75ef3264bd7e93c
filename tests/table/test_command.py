"""The table command."""

import csv
import json
import re
from pathlib import Path

import commands
import pytest

from monai_ext.data.io.json_file import write_json
from monai_ext.errors import ConfigError
from monai_ext.table import RunError, read_cases, table

METRIC = {"mean": 0.5, "ci_low": 0.4, "ci_high": 0.6, "n": 7, "groups": 3}


def command(root, *arguments):
    return commands.run("-m", "monai_ext.table", "--bundle", "tiny", *arguments, cwd=root, timeout=600)


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
    assert (row["mean"], row["ci_low"]) == (pytest.approx(0.8), None)  # two seeds say nothing about new patients
    assert (row["n"], row["seeds"], row["paper"]) == (7, 2, 0.4213)
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
    assert "training of wrong (seed0) ended with code 2" in run.stderr
    (configs / "variants/wrong.json").write_text(json.dumps(failing))
    other = command(root, "--rows", "wrong")
    assert other.returncode == 2
    assert "holds a run with other settings" in other.stderr
    (configs / "variants/wrong.json").write_text(json.dumps(failing | {"dcie": 1}))
    evaluate = json.loads((configs / "evaluate.json").read_text())
    (configs / "evaluate.json").write_text(json.dumps(evaluate | {"dcie": 1}))  # now a key of the bundle
    resumed = command(root, "--rows", "wrong,tiny")
    assert "TRAINED 0.2 0 None True" in resumed.stdout, resumed.stdout + resumed.stderr
    assert "TRAINED 0.5 0" in resumed.stdout
    assert "0.1900 to 0.2100" in resumed.stdout


def test_what_is_finished_is_not_done_again(root, monkeypatch):
    """A stand-in for monai.bundle, which records its arguments and writes the reports."""
    asked = []

    def run(command):
        options = dict(argument[2:].split("=", 1) for argument in command if argument.startswith("--"))
        asked.append((command[1], options["output_dir"].split("/t/")[1], options.get("resume")))
        write_json({"metrics": {"dice": METRIC}}, f"{options['output_dir']}/report.json")
        return code

    monkeypatch.setattr("monai_ext.table.row.run_bundle_process", run)
    monkeypatch.chdir(root)
    code = 0
    text = table("tiny", ("tiny", "scratch"), (0, 1), out="t")
    assert [what for what, _, _ in asked] == ["training", "evaluating"] * 4
    assert text.count("| 0.5000 | -       | 7 | 1     | 2     |") == 2
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
    with pytest.raises(RunError, match=r"training of better \(seed0\) ended with code 4") as failure:
        table("tiny", "better", out="t")
    assert failure.value.exit_code == 4


def test_a_phase_that_reports_for_itself(root, monkeypatch):
    asked = []

    def run(command):
        options = dict(argument[2:].split("=", 1) for argument in command if argument.startswith("--"))
        asked.append((command[1], options["output_dir"], options["seed"], options.get("epochs")))
        write_json({"metrics": {"loss": METRIC}}, f"{options['output_dir']}/report.json")
        return 0

    monkeypatch.setattr("monai_ext.table.row.run_bundle_process", run)
    monkeypatch.chdir(root)
    text = table("tiny", "tiny", (0, 1), phase="pretrain", out="t", epochs=4)
    assert asked == [("run", f"{root}/t/tiny/pretrain_seed{seed}/output/pretrain", str(seed), "4") for seed in (0, 1)]
    assert "0.5000" in text
    assert table("tiny", "tiny", (0, 1), phase="pretrain", out="t", epochs=4) == text
    assert len(asked) == 2
    with pytest.raises(ConfigError, match="no phase 'maps'"):
        table("tiny", "tiny", phase="maps")


def test_metrics_are_named_or_matched(root, monkeypatch):
    def run(command):
        options = dict(argument[2:].split("=", 1) for argument in command if argument.startswith("--"))
        metrics = dict.fromkeys(("auroc_map_adc", "auroc_map_t2w", "ssim_adc"), METRIC)
        write_json({"metrics": metrics}, f"{options['output_dir']}/report.json")
        return 0

    monkeypatch.setattr("monai_ext.table.row.run_bundle_process", run)
    monkeypatch.chdir(root)
    table("tiny", "tiny", phase="pretrain", out="t", metrics="auroc_map_*,ssim_adc")
    kept = json.loads((root / "t/table.json").read_text())["table"]
    assert [entry["metric"] for entry in kept] == ["auroc_map_adc", "auroc_map_t2w", "ssim_adc"]
    table("tiny", "tiny", phase="pretrain", out="t", metrics="*_t2w")
    assert [e["metric"] for e in json.loads((root / "t/table.json").read_text())["table"]] == ["auroc_map_t2w"]
    with pytest.raises(ConfigError, match=r"no row has the metric psnr_\*; there are auroc_map_adc, auroc_map_t2w"):
        table("tiny", "tiny", phase="pretrain", out="t", metrics="auroc_*,psnr_*")


def test_a_row_may_lay_one_overlay_over_another(root, monkeypatch):
    monkeypatch.setattr("monai_ext.table.row.run_bundle_process", by_cases(lambda options, patient: 0.5))
    monkeypatch.chdir(root)
    table("tiny", ("better", "better+scratch"), out="t")
    overlays = {
        row: json.loads((root / f"t/{row}/seed0/settings.json").read_text())["settings"][0]
        for row in ("better", "better+scratch")
    }
    assert [overlays[row]["dice"] for row in overlays] == [0.7, 0.2]
    assert overlays["better+scratch"]["_paper_"] == {"dice_*": 0.4213}
    with pytest.raises(ConfigError, match="did you mean 'scratch'"):
        table("tiny", "better+scrach", out="t")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ({"rows": "bettr"}, "did you mean 'better'?"),
        ({"rows": "better", "config": "dmo"}, "did you mean 'demo'?"),
        ({"rows": "better", "dicee": 1}, "did you mean 'dice'?"),
        ({"rows": "better", "model": "x"}, "--model is set for each row and seed"),
        ({"rows": "better", "seeds": "a"}, "--seeds must be whole numbers"),
        ({"rows": ""}, "names no row"),
        ({"rows": "better", "against": "scratch"}, "is none of the rows better"),
        ({"rows": "better", "minutes": 5}, "give --datalist"),
        ({"rows": "better", "choices": "encodr"}, "--choices 'encodr' is none of encoder, statistics"),
        ({"rows": "better", "choices": "encoder"}, "give --datalist, --dataset_dir and --num_labelled"),
        ({"rows": "better", "draws": "1", "folds": "x"}, "--folds must be whole numbers"),
    ],
)
def test_wrong_command_ends_before_any_work(root, monkeypatch, arguments, hint):
    monkeypatch.chdir(root)
    with pytest.raises(ConfigError, match=re.escape(hint)):
        table("tiny", **arguments)
    assert not (root / "bundles/tiny/output").exists()


def by_cases(value):
    """A stand-in for monai.bundle: an evaluation of two patients, whose Dice ``value(options, patient)`` says."""

    def run(command):
        options = dict(argument[2:].split("=", 1) for argument in command if argument.startswith("--"))
        folder = Path(options["output_dir"])
        folders.append(folder)
        write_json({"metrics": {"dice": METRIC}}, folder / "report.json")
        asked.append((command[1], str(folder).split("/t/")[1]))
        if command[1] == "evaluating":
            chosen = json.loads((folder.parent / "output/train/options.json").read_text())
            lines = [["case", "patient", "dice"]]
            lines += [[f"{p}_{scan}", p, value(chosen, p)] for p in ("p1", "p2") for scan in "ab"]
            with open(folder / "cases.csv", "w", newline="") as file:
                csv.writer(file).writerows(lines)
        else:
            write_json(options, folder / "options.json")
        return 0

    asked, folders = [], []
    run.asked, run.folders = asked, folders
    return run


def test_a_row_costs_its_training_and_what_follows_but_no_pretraining(root, monkeypatch):
    """A pretraining, which rows and draws share, reports in the folder of the first that ran it."""
    train = json.loads((root / "bundles/tiny/configs/train.json").read_text()) | {"later": ["next"], "next": {}}
    (root / "bundles/tiny/configs/train.json").write_text(json.dumps(train))
    (root / "bundles/tiny/configs/next.json").write_text(json.dumps({"output_dir": "$@run_dir + '/output/next'"}))
    stand_in = by_cases(lambda options, patient: 0.5)

    def run(command):
        code, folder = stand_in(command), Path(stand_in.folders[-1])
        if command[1] != "evaluating":
            for phase, steps in (("pretrain", 100), ("train", 7), ("next", 3)):
                costs = {"iterations": steps, "seconds": 2 * steps, "processor_seconds": steps}
                write_json(costs, folder.parent / phase / "report.json")
        return code

    monkeypatch.setattr("monai_ext.table.row.run_bundle_process", run)
    monkeypatch.chdir(root)
    table("tiny", "tiny", out="t")
    (cell,) = json.loads((root / "t/cells.json").read_text())["cells"]
    assert (cell["steps"], cell["seconds"], cell["processor_seconds"]) == (10, 20, 10)


def test_rows_are_compared_patient_by_patient_and_draw_by_draw(root, monkeypatch):
    """The second row is .1 better everywhere; what patients and draws do to both cancels out."""
    train = json.loads((root / "bundles/tiny/configs/train.json").read_text()) | {"label_seed": 0}
    (root / "bundles/tiny/configs/train.json").write_text(json.dumps(train))

    def value(options, patient):
        better = "better" in options["run_dir"]
        return 0.3 + 0.1 * better + 0.2 * (patient == "p2") + 0.05 * int(options["label_seed"])

    run = by_cases(value)
    monkeypatch.setattr("monai_ext.table.row.run_bundle_process", run)
    monkeypatch.chdir(root)
    options = {"draws": (0, 1), "folds": (1, 2), "section": "validation", "against": "tiny", "out": "t"}
    text = table("tiny", ("tiny", "better"), **options)
    trained = [place for what, place in run.asked if what == "training"]
    cells = ["fold1_draw0_seed0", "fold2_draw0_seed0", "fold1_draw1_seed0", "fold2_draw1_seed0"]
    assert trained == [f"{row}/{cell}/output/train" for cell in cells for row in ("tiny", "better")]
    plain, better = json.loads((root / "t/table.json").read_text())["table"]
    assert plain["mean"] == pytest.approx(0.3 + 0.1 + 0.025)
    assert (plain["n"], plain["draws"], plain["seeds"]) == (4, 2, 1)  # two patients in each fold
    assert plain["ci_low"] < plain["mean"] < plain["ci_high"]
    assert better["difference"]["mean"] == pytest.approx(0.1)
    assert better["difference"]["ci_high"] - better["difference"]["ci_low"] < 1e-9
    assert "+0.1000" in text
    saved = read_cases(root / "t/cases.csv")
    assert len(saved.rows) == 2 * 4 * 4
    assert saved.difference("better", "tiny", "dice")["mean"] == pytest.approx(0.1)
    assert table("tiny", ("tiny", "better"), **options) == text
    assert len(run.asked) == 16


def test_each_row_and_fold_is_planned_once_before_anything_is_trained(root, monkeypatch):
    asked = []

    def plan(bundle, **options):
        assert not run.asked  # a training beside it would take some of the time that a step is given
        asked.append((options["row"] and Path(options["row"]).stem, options["val_fold"], options["minutes"]))
        write_json({"dice": 0.8, "semi_supervised": True}, options["out"])

    monkeypatch.setattr("monai_ext.table.command.plan", plan)
    run = by_cases(lambda options, patient: 0.5)
    monkeypatch.setattr("monai_ext.table.row.run_bundle_process", run)
    monkeypatch.chdir(root)
    train = json.loads((root / "bundles/tiny/configs/train.json").read_text()) | {"datalist": "", "dataset_dir": ""}
    (root / "bundles/tiny/configs/train.json").write_text(json.dumps(train))
    row = root / "bundles/tiny/configs/variants/scratch.json"
    row.write_text(json.dumps(json.loads(row.read_text()) | {"_minutes_": 3}))
    options = {"datalist": "d.json", "dataset_dir": "d", "folds": (1, 2), "section": "validation", "out": "t"}
    table("tiny", ("tiny", "scratch"), seeds=(0, 1), minutes=5, **options)
    expected = [(name, fold, minutes) for name, minutes in ((None, 5), ("scratch", 15)) for fold in (1, 2)]
    assert sorted(asked, key=str) == sorted(expected, key=str)
    plans = [json.loads(file.read_text()) for file in Path("t").rglob("plan_fold*.json")]
    assert plans == 4 * [{"dice": 0.8}]  # a row says itself which phases it has


def test_choices_come_after_the_draws_and_train_on_their_own_datalist(root, monkeypatch):
    """A stand-in for the choice writes a file; the training of its cell gets that and no draw."""
    train = json.loads((root / "bundles/tiny/configs/train.json").read_text())
    more = {"label_seed": 0, "datalist": "", "dataset_dir": "", "num_labelled": None, "label_fraction": 0.5}
    (root / "bundles/tiny/configs/train.json").write_text(json.dumps(train | more))
    asked = []

    def select(bundle, **options):
        asked.append({**options, "out": str(options["out"])})
        write_json({}, options["out"])

    def value(options, patient):
        chosen = options["datalist"].endswith("chosen.json")
        return 0.6 if chosen else 0.5 + 0.1 * int(options["label_seed"]) - 0.05

    run = by_cases(value)
    monkeypatch.setattr("monai_ext.table.command.select", select)
    monkeypatch.setattr("monai_ext.table.row.run_bundle_process", run)
    monkeypatch.chdir(root)
    options = {"datalist": "d.json", "dataset_dir": "d", "num_labelled": 2, "folds": 1, "section": "validation"}
    text = table("tiny", "better", draws=(0, 1, 2, 3), choices=("statistics", "encoder"), out="t", **options)
    trained = [place.split("/")[1] for what, place in run.asked if what == "training"]
    assert trained == [f"fold1_draw{n}_seed0" for n in range(4)] + ["fold1_bystatistics_seed0", "fold1_byencoder_seed0"]
    place = root / "t/better/fold1_byencoder_seed0"
    chosen = json.loads((place / "output/train/options.json").read_text())
    assert (chosen["datalist"], chosen["num_labelled"], chosen["label_fraction"]) == (
        f"{place}/chosen.json",
        "None",
        "1.0",
    )
    assert "label_seed" not in chosen
    drawn = json.loads((place.parent / "fold1_draw2_seed0/output/train/options.json").read_text())
    assert (drawn["datalist"], drawn["num_labelled"], drawn["pretrained"]) == ("d.json", "2", chosen["pretrained"])
    second = asked[1]
    assert (second["by"], second["num"], second["val_fold"], second["labelled"]) == ("encoder", 2, 1, "none")
    assert (second["pretrained"], second["out"]) == (chosen["pretrained"], chosen["datalist"])
    assert [Path(file).stem for file in second["config"]] == ["better"]
    entries = {entry["row"]: entry for entry in json.loads((root / "t/table.json").read_text())["table"]}
    assert list(entries) == ["better", "better, by statistics", "better, by encoder"]
    assert entries["better"]["mean"] == pytest.approx(0.6)  # of .45, .55, .65, .75
    assert entries["better, by encoder"]["beaten"] == 0.5
    assert entries["better, by encoder"]["gain"]["mean"] == pytest.approx(0)
    assert "| 50%" in text
    assert table("tiny", "better", draws=(0, 1, 2, 3), choices=("statistics", "encoder"), out="t", **options) == text
    assert len(asked) == 2


def test_a_setting_that_the_bundle_lacks_is_named(root, monkeypatch):
    monkeypatch.chdir(root)
    with pytest.raises(ConfigError, match="has no label_seed"):
        table("tiny", "tiny", draws=1, out="t")


@pytest.mark.parametrize(
    ("options", "figure"),
    [({}, 0.47), ({"modalities": ["ct"]}, 0.29), ({"modalities": "t2"}, None), ({"modalities": ["ct", "pet"]}, None)],
)
def test_a_papers_figures_are_those_of_the_modality(root, monkeypatch, options, figure):
    monkeypatch.setattr("monai_ext.table.row.run_bundle_process", by_cases(lambda options, patient: 0.5))
    monkeypatch.chdir(root)
    for file, more in {
        "variants/better": {"_paper_": {"flair": {"dice": 0.47}, "ct": {"dice": 0.29}}},
        "train": {"modalities": ["flair"]},
        "evaluate": {"modalities": ["flair"]},
    }.items():
        path = root / f"bundles/tiny/configs/{file}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | more))
    table("tiny", "better", section="validation", out="t", **options)
    found = {entry["metric"]: entry["paper"] for entry in json.loads((root / "t/table.json").read_text())["table"]}
    assert found == {"dice": figure}


def test_an_overlay_may_change_a_part_of_what_only_the_bundle_has(root, monkeypatch):
    """The paper's figures are read from the overlays alone, which have no network to change a part of."""
    monkeypatch.setattr("monai_ext.table.row.run_bundle_process", by_cases(lambda options, patient: 0.5))
    monkeypatch.chdir(root)
    (root / "part.json").write_text(json.dumps({"network_def#blocks": [1, 1]}))
    for name in ("train", "evaluate"):
        file = root / f"bundles/tiny/configs/{name}.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"network_def": {"blocks": [2, 2]}}))
    table("tiny", "better", config=str(root / "part.json"), section="validation", out="t")
    found = {entry["metric"]: entry["paper"] for entry in json.loads((root / "t/table.json").read_text())["table"]}
    assert found == {"dice": None}
