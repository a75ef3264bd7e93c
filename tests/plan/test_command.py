"""The command as a user types it, on phantoms."""

import json
from pathlib import Path

import commands
import pytest

from monai_ext.data import phantom

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bundle", "data"),
    [
        ("anatomask", "ct_multiorgan"),
        ("autopet_bixlstm", "petct"),
        ("amlp", "brain_mr"),
        ("prostate_mae", "bpmri"),
        ("adunet_anomaly", "bpmri"),
    ],
)
def test_a_plan_for_each_bundle(tmp_path, bundle, data):
    folder, out = phantom(data), tmp_path / "plan.json"
    command = ["-m", "monai_ext.plan", "--bundle", bundle, "--datalist", f"{folder}/datalist.json"]
    command += ["--dataset_dir", folder, "--minutes", "5", "--out", str(out)]
    done = commands.run(*command)
    assert done.returncode == 0, done.stderr
    overlay = json.loads(out.read_text())
    assert overlay["max_epochs"] >= 1
    assert "Each phase takes" in done.stdout
    promise = overlay.pop("_plan_")
    assert f"takes {promise['minutes']:.0f} minutes and {promise['gibibytes']:.2g} GiB" in done.stdout
    for key in overlay:
        assert key in done.stdout or isinstance(overlay[key], dict)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bundle", "data"), [("anatomask", "ct_multiorgan"), ("autopet_bixlstm", "petct"), ("amlp", "brain_mr")]
)
def test_a_planned_chain_trains_and_is_evaluated(tmp_path, bundle, data):
    """All phases take the overlay, which names the data set that the plan was made from; two epochs of each."""
    folder, configs = phantom(data), ROOT / "bundles" / bundle / "configs"
    items = json.loads(Path(folder, "datalist.json").read_text())
    items["testing"] = items["testing"][:1]
    (tmp_path / "list.json").write_text(json.dumps(items))

    def run(*words):
        done = commands.run("-m", *words, timeout=900)
        assert done.returncode == 0, done.stderr[-3000:]

    def phase(name, file, *words):
        files = str([str(configs / file), str(tmp_path / "plan.json")])
        run("monai.bundle", "run", name, "--config_file", files, "--run_dir", str(tmp_path), *words)

    places = ["--dataset_dir", folder, "--datalist", str(tmp_path / "list.json"), "--out", str(tmp_path / "plan.json")]
    run("monai_ext.plan", "--bundle", bundle, "--minutes", "1.5", *places)
    kept = ["--cache_dir", str(tmp_path / "cache")]
    phase("training", "train.json", *kept, "--max_epochs", "2", "--val_interval", "2", "--pretrain#max_epochs", "2")
    for made in ("pretrain", "train"):
        report = json.loads((tmp_path / "output" / made / "report.json").read_text())
        assert report["epochs"] == 2, report
    phase("evaluating", "evaluate.json", *kept, "--section", "training", "--folds", "0")
    assert (tmp_path / "output/evaluate/report.json").is_file()
    phase("inference", "inference.json", "--output_dir", str(tmp_path / "masks"))
    assert len(list(tmp_path.glob("masks/*/*_seg.nii.gz"))) == 1  # of the plan's list, whose own folder is another


def test_wrong_commands(tmp_path):
    def run(*options):
        return commands.run("-m", "monai_ext.plan", *options)

    found = run("--bundle", "nnunet", "--datalist", "x.json", "--dataset_dir", str(tmp_path))
    assert found.returncode == 2
    assert "anatomask" in found.stderr
    found = run("--bundle", "amlp", "--datalist", str(tmp_path / "x.json"), "--dataset_dir", str(tmp_path))
    assert found.returncode == 3
    found = run("--bundle", "amlp", "--minuets", "5")
    assert found.returncode == 2
    assert "--minutes" in found.stderr
