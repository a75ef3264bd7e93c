"""The command as a user types it, on phantoms."""

import json
import subprocess
import sys

import pytest

from monai_ext.data import phantom


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
    command = [sys.executable, "-m", "monai_ext.plan", "--bundle", bundle, "--datalist", f"{folder}/datalist.json"]
    command += ["--dataset_dir", folder, "--minutes", "5", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    overlay = json.loads(out.read_text())
    assert overlay["max_epochs"] >= 1
    assert "Each phase takes" in done.stdout
    for key in overlay:
        assert key in done.stdout or isinstance(overlay[key], dict)


def test_wrong_commands(tmp_path):
    def run(*options):
        return subprocess.run([sys.executable, "-m", "monai_ext.plan", *options], capture_output=True, text=True)

    found = run("--bundle", "nnunet", "--datalist", "x.json", "--dataset_dir", str(tmp_path))
    assert found.returncode == 2
    assert "anatomask" in found.stderr
    found = run("--bundle", "amlp", "--datalist", str(tmp_path / "x.json"), "--dataset_dir", str(tmp_path))
    assert found.returncode == 3
    found = run("--bundle", "amlp", "--minuets", "5")
    assert found.returncode == 2
    assert "--minutes" in found.stderr
