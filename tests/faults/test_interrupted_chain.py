"""The whole method of each bundle, ended at file events again and again: the same files as without interruption.

``MONAI_EXT_KILLS=40`` ends the runs of each bundle so many times; without it a sample is taken.
"""

import json
import os
import random
import re
import signal
from collections import defaultdict

import nibabel as nib
import numpy as np
import pytest
from fault_subjects import SUBJECTS, DataSet, shrink
from matplotlib.image import imread
from test_kill import ENCODER, NETS, equal

from monai_ext.networks import read_checkpoint

KILLS = int(os.environ.get("MONAI_EXT_KILLS", 6))
TERMS = 5  # one end in so many is a SIGTERM
EACH = {"max_epochs": 2}
# What makes the chain a matter of seconds, beside the overlay of the subject.
CHAINS = {
    "prostate_mae": {
        **EACH,
        **{
            "frozen_epochs": 1,
            "batch_size": 8,
            "min_lesion_pixels": 1,
            "gland": {"max_epochs": 1, "gland_size": [32, 32, 16]},
        },
        "pretrain": {
            "network_def#encoder": {"_target_": f"{NETS}.MAEEncoder", **ENCODER},
            **{"network_def#decoder_dim": 24, "network_def#decoder_depth": 1, "network_def#decoder_num_heads": 3},
            **{"batch_size": 8, "train#handlers#0#save_interval": 1, **EACH},
        },
    },
    "amlp": {**EACH, "batch_size": 4, "val_interval": 1, "pretrain": {**EACH, "batch_size": 4}},
    "anatomask": {**EACH, "num_crops": 2, "val_interval": 1, "pretrain": EACH},
    "autopet_bixlstm": {
        **{**EACH, "iterations": 1, "val_interval": 1},
        "pretrain": {**EACH, "iterations": 1, "patch_size": 8},
    },
    "adunet_anomaly": {
        **{**EACH, "iterations": 1, "val_interval": 1, "scheme": "crossfit", "map_modalities": ["adc"]},
        **{"img_size": 32, "num_slices": 8, "generator_spacing": [2, 2, 6], "bare_scans": False},
        "generator_options": {"channels": 8, "num_blocks": 1},
        "reconstruct": {
            **{"discriminator_options": {"channels": 8, "num_layers": 3}, "domains": "slices"},
            **{"iterations": 2, "batch_size": 4, "head_steps": 2, **EACH},
        },
    },
}
GREY_LEVELS = 4  # of 255, by which pictures may differ
TIMES = ("finished", "seconds", "processor_seconds", "gibibytes", "time", "date")  # of a report


def files(folder):
    """All files of a run by their path, but for the curves, of which each process begins a file.

    Those of the cache are named after the times of the scans and maps they come from: they are numbered by kind.
    """
    found, kinds = {}, defaultdict(int)
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and "tfevents" not in path.name):
        name = str(path.relative_to(folder))
        if path.parent.name == "cache":
            kind = re.sub(r"[0-9a-f]{24}", "*", name)
            kinds[kind] += 1
            name = f"{kind} {kinds[kind]}"
        found[name] = path
    return found


def content(path):
    """What has to be the same in two runs."""
    if path.parent.name == "cache":
        return None
    if path.suffix == ".pt":
        return read_checkpoint(path)
    if path.suffix == ".json":
        found = json.loads(path.read_text())
        if path.name == "report.record.json":  # of the mapping: the hash of a report, which holds the time
            found.pop("sha256")
        return {key: value for key, value in found.items() if key not in TIMES} if "finished" in found else found
    if path.suffix == ".gz":
        return np.asarray(nib.load(path).dataobj).tolist()
    if path.suffix == ".png":
        return np.rint(255 * imread(path)).astype(int)
    return None if path.suffix in (".html", ".lock") or path.name == ".lock" else path.read_bytes()


def differences(one, other):
    """Where two contents differ.

    Two processes place the parts of one figure equally up to the last digits of a float, so that the rim of a line is
    a grey level or two brighter; a voxel more in a mask moves a line, which is hundreds.
    """
    if isinstance(one, np.ndarray):
        return [] if one.shape == other.shape and np.abs(one - other).max() <= GREY_LEVELS else ["pixels"]
    return equal(one, other)


@pytest.mark.slow
@pytest.mark.row(26, 51)
@pytest.mark.parametrize("name", CHAINS)
def test_chain_ended_at_file_events_leaves_the_same_files(command, tmp_path, name):
    subject, rng = SUBJECTS[name], random.Random(name)
    (tmp_path / "small").mkdir()
    shrink(subject, tmp_path / "small")
    dataset = DataSet(tmp_path / "small", tmp_path / "data")
    if name == "prostate_mae":  # a case without a mask, so that the gland network is trained too
        for key in [key for key in dataset.sections["testing"][0] if key in ("gland", "zones")]:
            dataset.file(key, dataset.sections["testing"][0]).unlink()
            del dataset.sections["testing"][0][key]
        dataset.save()
    (tmp_path / "small.json").write_text(json.dumps({**subject.overlay, **CHAINS[name]}))

    def run(folder, at=None, number=signal.SIGKILL, late=0.0):
        config = repr([str(subject.config("train.json")), str(tmp_path / "small.json")])
        where = {
            "dataset_dir": dataset.root,
            "datalist": dataset.path,
            "cache_dir": folder / "cache",
            "run_dir": folder,
        }
        words = [word for key, value in where.items() for word in (f"--{key}", value)]
        watch = {"folder": str(folder), "note": str(tmp_path / "events"), "at": at, "number": number, "late": late}
        words += ["--resume", "true"]
        return command(
            "-m", "monai.bundle", "run", "training", "--config_file", config, *words, watch=watch, timeout=600
        )

    folder = tmp_path / "run"  # always the same, because a cache knows its files by their paths
    whole = run(folder)
    assert whole.returncode == 0, whole.output[-5000:]
    events = int((tmp_path / "events").read_text())
    expected = {path: content(file) for path, file in files(folder).items()}
    ends, rounds = 0, 0
    while ends < KILLS:
        folder.rename(tmp_path / f"run{rounds}")
        rounds += 1
        left, last = events, None
        while ends < KILLS and left > 0:
            number = signal.SIGTERM if ends % TERMS == TERMS - 1 else signal.SIGKILL
            at = rng.randint(1, max(1, 2 * events // 3))
            ended = run(folder, at, number, rng.choice((0.0, 0.002)))
            last = ended.returncode
            if last == 0:  # fewer events were left
                break
            assert last in (-signal.SIGKILL, 7), ended.output[-5000:]
            assert last == (7 if number == signal.SIGTERM else -number), ended.output[-5000:]
            ends += 1
            left -= at
        if last != 0:
            ended = run(folder)
            assert ended.returncode == 0, ended.output[-5000:]
        found = files(folder)
        assert found.keys() == expected.keys(), f"after {ends} ends: {sorted(found.keys() ^ expected.keys())}"
        for path, file in found.items():
            differing = differences(expected[path], content(file))
            assert differing == [], f"{path} after {ends} ends: {differing[:5]}"
        print(f"{name}: {ends} ends in {rounds} runs of {events} events", flush=True)
