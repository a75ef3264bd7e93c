"""Two processes under torchrun: the whole method of every bundle, not one phase."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from running import run_bundle

from monai_ext.phases.chain import earlier_phases

RANKS = Path(__file__).with_name("ranks.py")
LAUNCH = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


def reports(folder):
    return {path.parent.relative_to(folder): json.loads(path.read_text()) for path in folder.rglob("report.json")}


@pytest.fixture(scope="module")
def together(trained, workplace, tmp_path_factory):
    """The demo on two processes, beside the one that ran it alone."""
    bundle, _ = trained
    notes = tmp_path_factory.mktemp("ranks")
    configs = f"bundles/{bundle.name}/configs"
    files = repr([f"{configs}/train.json", f"{configs}/demo.json"])
    command = [sys.executable, *LAUNCH, str(RANKS), str(notes), "run", "training", "--config_file", files]
    command += ["--run_dir", str(notes / "run")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=workplace, capture_output=True, text=True, timeout=1500, env=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return bundle, notes


@pytest.mark.slow
def test_every_phase_takes_half_the_steps(together):
    bundle, notes = together
    alone = {p: r for p, r in reports(bundle / "demo/output").items() if p.name not in ("evaluate", "inference")}
    both = reports(notes / "run/output")
    assert alone.keys() == both.keys()
    learning = {phase: report for phase, report in alone.items() if "iterations" in report}
    expected = len([p for p in earlier_phases(json.loads((bundle / "configs/train.json").read_text())) if p != "gland"])
    assert len(learning) >= expected
    for phase, report in learning.items():
        epochs = report["epochs"]
        assert both[phase]["epochs"] == epochs or phase.name == "train"  # which may stop early
        halved = math.ceil(report["iterations"] / epochs / 2)
        assert both[phase]["iterations"] == both[phase]["epochs"] * halved, phase


@pytest.mark.slow
def test_both_processes_end_every_phase_with_the_same_weights(together):
    _, notes = together
    states = sorted(notes.glob("*.0.pt"))
    assert states
    for path in states:
        first = torch.load(path, weights_only=True)
        second = torch.load(path.with_name(path.name.replace(".0.pt", ".1.pt")), weights_only=True)
        assert first.keys() == second.keys()
        assert [key for key in first if not torch.equal(first[key], second[key])] == [], path.name


@pytest.mark.slow
def test_no_file_is_written_by_both(together):
    _, notes = together
    logs = [notes / f"{rank}.txt" for rank in (0, 1)]
    first, second = (set(log.read_text().splitlines()) if log.exists() else set() for log in logs)
    assert first
    assert first & second == set()


@pytest.mark.row(39)
@pytest.mark.slow
def test_a_process_that_dies_ends_the_others(trained, workplace, tmp_path):
    bundle, _ = trained
    configs = f"bundles/{bundle.name}/configs"
    files = repr([f"{configs}/train.json", f"{configs}/demo.json"])
    command = [sys.executable, *LAUNCH, "-m", "monai.bundle", "run", "run", "--config_file", files]
    command += ["--run_dir", str(tmp_path / "run"), "--max_epochs", "500"]
    command += (
        ["--pretrained", "null"]
        if "pretrained" in (bundle / "configs/train.json").read_text()
        else ["--map_modalities", "[]"]
    )
    run = subprocess.Popen(
        command,
        cwd=workplace,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        deadline = time.time() + 300
        while not list((tmp_path / "run").rglob("events.out*")) and time.time() < deadline and run.poll() is None:
            time.sleep(0.2)
        assert run.poll() is None, run.communicate()[0][-3000:]
        time.sleep(3)
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        ranks = [int(c) for c in children if b"monai.bundle" in Path(f"/proc/{c}/cmdline").read_bytes()]
        assert len(ranks) == 2
        killed = time.time()
        os.kill(ranks[1], signal.SIGKILL)
        output = run.communicate(timeout=120)[0]
        assert time.time() - killed < 60
        assert run.returncode != 0
        assert "SIGKILL" in output[-3000:] or "exitcode  : -9" in output
    finally:
        run.kill()


def test_the_overlay_refuses_to_run_without_torchrun(source, tmp_path):
    run = run_bundle(
        "run",
        source / "configs/train.json",
        source / "configs/multi_gpu_train.json",
        cwd=tmp_path,
        check=False,
        run_dir=tmp_path / "run",
    )
    assert run.returncode == 2
    assert "needs torchrun" in run.stderr
