"""A run that is killed at random moments and resumed each time ends at the weights of the uninterrupted one."""

import json
import random
import signal
import time

import pytest
import torch
from fault_subjects import SUBJECTS, DataSet, shrink

from monai_ext.networks import read_checkpoint

KILLS, EPOCHS = 20, 16
NETS = "monai_ext.networks.nets"
ENCODER = {"embed_dim": 48, "depth": 1, "num_heads": 3}
# Bundle, config, run id, key of the weights, and what makes 16 epochs a matter of seconds.
PHASES = {
    "2-D pretraining": (
        "prostate_mae",
        "pretrain.json",
        "pretraining",
        "pretrained",
        {
            "network_def#encoder": {"_target_": f"{NETS}.MAEEncoder", **ENCODER},
            "network_def#decoder_dim": 24,
            "network_def#decoder_depth": 1,
            "network_def#decoder_num_heads": 3,
            "preprocessing#resample_size": [96, 96, 8],
            "preprocessing#img_size": [88, 88, 8],
            "train#handlers#0#save_interval": 1,
            "train#handlers#0#val_interval": 3,
            "batch_size": 8,
        },
    ),
    "2-D training": (
        "prostate_mae",
        "train.json",
        "run",
        "model",
        {
            "network_def": {"_target_": f"{NETS}.MAESegmenter", "in_channels": 3, "num_classes": 2, **ENCODER},
            "preprocessing#resample_size": [96, 96, 8],
            "preprocessing#img_size": [88, 88, 8],
            "pretrained": "null",
            "frozen_epochs": 2,
            "min_lesion_pixels": 1,
            "batch_size": 4,
        },
    ),
    "3-D pretraining": (
        "anatomask",
        "pretrain.json",
        "pretraining",
        "pretrained",
        {
            "model_size": [4, 1],
            "levels": 3,
            "spacing": [8, 8, 8],
            "crop_size": [32, 32, 32],
            "train#handlers#1#save_interval": 1,
        },
    ),
    "3-D training": (
        "anatomask",
        "train.json",
        "run",
        "model",
        {
            "model_size": [4, 1],
            "levels": 3,
            "spacing": [8, 8, 8],
            "crop_size": [32, 32, 32],
            "pretrained": "null",
            "num_crops": 4,
            "val_interval": 4,
        },
    ),
    "GAN": (
        "adunet_anomaly",
        "reconstruct.json",
        "reconstructing",
        "weights",
        {
            "img_size": 32,
            "num_slices": 8,
            "generator_spacing": [2, 2, 6],
            "generator_options": {"channels": 8, "num_blocks": 1},
            "discriminator_options": {"channels": 8, "num_layers": 3},
            "domains": "slices",
            "iterations": 3,
            "batch_size": 4,
            "head_steps": 3,
        },
    ),
}


def equal(one, other, where=""):
    """Names of the tensors and numbers that differ between two checkpoints; times and paths are not compared."""
    if isinstance(one, torch.Tensor):
        return [] if torch.equal(one, other) else [where]
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        return [name for key in one for name in equal(one[key], other[key], f"{where}/{key}")]
    if isinstance(one, list | tuple):
        assert len(one) == len(other), where
        return [name for i, (a, b) in enumerate(zip(one, other)) for name in equal(a, b, f"{where}/{i}")]
    return [] if one == other or (one != one and other != other) else [where]


@pytest.mark.slow
@pytest.mark.row(26)
@pytest.mark.parametrize("phase", PHASES)
def test_killed_at_random_moments_and_resumed(command, tmp_path, phase):
    name, file, run_id, weights, settings = PHASES[phase]
    subject, rng = SUBJECTS[name], random.Random(phase)
    (tmp_path / "small").mkdir()
    shrink(subject, tmp_path / "small")
    dataset = DataSet(tmp_path / "small", tmp_path / "data")

    def run(folder, kill_when=None):
        where = {"dataset_dir": dataset.root, "datalist": dataset.path, "cache_dir": folder / "cache"}
        where |= {"output_dir": folder, weights: folder / "weights.pt", "resume": True, "max_epochs": EPOCHS}
        words = [word for key, value in (settings | where).items() for word in (f"--{key}", value)]
        config = subject.config(file)
        return command("-m", "monai.bundle", "run", run_id, "--config_file", config, *words, kill_when=kill_when)

    whole = run(tmp_path / "whole")
    assert whole.returncode == 0, whole.output[-3000:]
    expected = {part: read_checkpoint(tmp_path / "whole" / part) for part in ("weights.pt", "last.pt")}
    training = json.loads((tmp_path / "whole/report.json").read_text())["seconds"]
    startup, epoch = max(0.5, whole.seconds - training), training / EPOCHS

    kills, rounds = 0, []
    while kills < KILLS:
        folder = tmp_path / f"killed{len(rounds)}"
        rounds.append([])
        while True:
            moment = random_moment(folder / "last.pt", startup, epoch, rng) if kills < KILLS else None
            ended = run(folder, moment)
            if ended.returncode == 0:
                break
            assert ended.returncode == -signal.SIGKILL, ended.output[-3000:]
            kills += 1
            saved = [path for path in (folder / "last.pt", folder / "previous.pt") if path.exists()]
            rounds[-1].append(read_checkpoint(saved[0])["epoch"] if saved else 0)
        for part, content in expected.items():
            differing = equal(content, read_checkpoint(folder / part))
            assert differing == [], f"{part} after kills at epochs {rounds[-1]}"
    print(f"{phase}: {kills} kills in {len(rounds)} runs, at epochs {rounds}")
    assert len({epoch for epochs in rounds for epoch in epochs}) > 3  # they fell into the training itself


def random_moment(saved, startup, epoch, rng):
    """A function that becomes True at a random moment: of the start and the first epoch, or of the one after it."""

    def version():
        try:
            return saved.stat().st_mtime_ns
        except FileNotFoundError:  # none yet, or just now replaced
            return None

    started, before = time.time(), version()
    delay = rng.random()
    if rng.random() < 0.4:
        return lambda: time.time() > started + delay * (startup + epoch)
    changed = []

    def reached():
        if not changed and version() not in (None, before):
            changed.append(time.time())
        return bool(changed) and time.time() > changed[0] + delay * epoch

    return reached
