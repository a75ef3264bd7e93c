import json
import os
import subprocess
import sys

import pytest
import torch

from monai_ext.errors import ConfigError
from monai_ext.plan import step_trial
from monai_ext.plan.device_facts import device_memory, parse_memory, time_step
from monai_ext.plan.step_trial import run_trial
from monai_ext.transforms import BatchAugmentation


@pytest.fixture
def config(tmp_path):
    """A bundle of one convolution whose transform sleeps."""
    folder = tmp_path / "tiny" / "configs"
    folder.mkdir(parents=True)
    content = {
        "imports": ["$import torch", "$from monai_ext.plan import step_trial"],
        "device": "cpu",
        "width": 2,
        "network": {
            "_target_": "torch.nn.Conv2d",
            "in_channels": 1,
            "out_channels": "@width",
            "kernel_size": 3,
            "padding": 1,
        },
        "loss": {"_target_": "DiceCELoss", "softmax": True, "to_onehot_y": True},
        "inferer": {"_target_": "SimpleInferer"},
        "slow": {"_target_": "Lambda", "func": "$lambda item: step_trial.time.sleep(0.02)"},
    }
    (folder / "train.json").write_text(json.dumps(content))
    return folder / "train.json"


def job(config, **options):
    return {"files": [str(config)], "overrides": {}, "shape": [1, 32, 32], "batch_size": 3, "steps": 2, **options}


class Clock:
    """Time that passes only where somebody sleeps."""

    now = 0.0

    def monotonic(self):
        return self.now

    process_time = monotonic

    def sleep(self, seconds):
        self.now += seconds


def test_a_step_and_its_augmentation(config, monkeypatch):
    """Of the data set, which has three items in a batch, and of the trainer, which augments them at once."""
    clock = Clock()
    monkeypatch.setattr(step_trial, "time", clock)
    monkeypatch.setattr(BatchAugmentation, "__call__", lambda *_: clock.sleep(0.05))
    loss = {"loss": "$lambda pred, label: (step_trial.time.sleep(0.3), pred.mean())[1]"}
    slow = {"train": {"dataset": {"crop_transform": "@slow"}}}
    noise = {"_target_": "monai_ext.transforms.BatchAugmentation", "spatial_dims": 2, "flips": []}
    whole = {"train": {"dataset": {}, "trainer": {"augmentation": noise}}}
    found = [run_trial(job(config, overrides=loss | more))["seconds"] for more in ({}, slow, whole)]
    assert found == pytest.approx([0.3, 0.3 + 3 * 0.02, 0.3 + 0.05])


def test_the_process_of_its_own_holds_what_the_network_holds(config):
    small = time_step([config], {}, (1, 32, 32), 2)
    large = time_step([config], {"width": 64}, (1, 1024, 1024), 2)
    output = 2 * 64 * 1024 * 1024 * 4 / 2**30
    assert large.gibibytes - small.gibibytes > output
    assert large.seconds > small.seconds


def test_what_the_parent_holds_does_not_count(config):
    ballast = torch.ones(400 * 2**20 // 4)
    assert time_step([config], {}, (1, 32, 32), 2).gibibytes < torch_alone() + 0.2
    assert ballast.sum() > 0


def torch_alone():
    """GiB of a process that has imported what a step imports."""
    code = (
        "import monai.bundle, monai_ext.engines; print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split()[-1]) / 2**20


def test_what_fails_says_how(config):
    with pytest.raises(ConfigError, match=r"batch_size 2 on \[2, 32, 32\]"):
        time_step([config], {}, (2, 32, 32), 2)


def test_memory_is_what_is_free():
    assert 0.1 < device_memory() < 10_000
    if not torch.cuda.is_available():
        assert device_memory() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


@pytest.mark.parametrize(("text", "gib"), [("8G", 8), ("8GiB", 8), ("512M", 0.5), ("1t", 1024), (2**30, 1)])
def test_memory(text, gib):
    assert parse_memory(text) == pytest.approx(gib)


@pytest.mark.parametrize("text", ["", "G", "-3G", "8X", "1.2.3G"])
def test_no_memory(text):
    from monai_ext.errors import ConfigError

    with pytest.raises(ConfigError, match="memory"):
        parse_memory(text)
