"""A real process is killed in mid-epoch; the resumed run ends at the weights of the uninterrupted one."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from running import ROOT

from monai_ext.networks import read_checkpoint

pytestmark = pytest.mark.slow

ENCODER = {"depth": 2, "embed_dim": 48, "num_heads": 4}
PHASES = {
    "pretrain.json": {
        "network_def#encoder": {"_target_": "monai_ext.networks.nets.MAEEncoder", **ENCODER},
        "network_def#decoder_dim": 48,
        "max_epochs": 4,
        "train#handlers#0#save_interval": 1,
        "train#handlers#0#val_interval": 1,
    },
    "train.json": {**{f"network_def#{k}": v for k, v in ENCODER.items()}, "max_epochs": 5, "frozen_epochs": 2},
}


def start(file, folder, **overrides):
    weights = {"pretrained" if file == "pretrain.json" else "model": folder / "weights.pt"}
    overrides = PHASES[file] | {"output_dir": folder, "batch_size": 8} | weights | overrides
    command = [sys.executable, "-m", "monai.bundle", "run", "run"]
    command += ["--config_file", str(ROOT / "bundles/prostate_mae/configs" / file)]
    command += [part for key, value in overrides.items() for part in (f"--{key}", str(value))]
    with open(folder / "log", "a") as log:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


def finish(process, folder):
    assert process.wait(timeout=900) == 0, (folder / "log").read_text()[-3000:]


@pytest.mark.parametrize("file", PHASES)
def test_sigkill_in_mid_epoch_then_resume(file, tmp_path):
    cache = {"cache_dir": tmp_path / "cache"}
    if file == "train.json":
        cache["pretrained"] = "null"
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    finish(start(file, whole, **cache), whole)
    process = start(file, killed, **cache)
    deadline = time.time() + 600
    while not (killed / "last.pt").is_file():  # the first epoch is done, the second has begun
        assert process.poll() is None, (killed / "log").read_text()[-3000:]
        assert time.time() < deadline
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    if file == "pretrain.json":
        assert not (killed / "weights.pt").exists()
    finish(start(file, killed, resume=True, **cache), killed)
    assert "going on after epoch" in (killed / "log").read_text()
    a, b = read_checkpoint(whole / "weights.pt"), read_checkpoint(killed / "weights.pt")
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    last = [read_checkpoint(folder / "last.pt") for folder in (whole, killed)]
    assert [checkpoint["epoch"] for checkpoint in last] == [last[0]["epoch"]] * 2
    networks = [checkpoint["objects"]["network"] for checkpoint in last]
    assert all(torch.equal(networks[0][name], networks[1][name]) for name in networks[0])
