"""Files kept between runs: prepared cases and phantoms, damaged or incomplete."""

import json
import signal
import time

import numpy as np
import pytest

from monai_ext.data.phantoms.registry import _is_whole


def contents(folder):
    """What the files of a cache hold, but for the times that its descriptions note."""
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    plain = {name: json.loads(text) for name, text in found.items() if name.endswith(".json")}
    return found | {name: {key: plain[name][key] for key in ("sum", "entry")} for name in plain}


@pytest.mark.row(32)
@pytest.mark.parametrize(
    ("suffix", "damage"),
    [(".npy", lambda c: c[:-9] + bytes(255 - b for b in c[-9:])), (".json", lambda c: c[: len(c) // 2])],
)
def test_a_damaged_cache_is_computed_again(bundle, dataset, suffix, damage):
    settings = {"cache_dir": bundle.folder / "cache"}
    first = bundle.evaluate(dataset, settings)
    assert first.returncode == 0, first.output[-3000:]
    report = bundle.folder / "evaluate/report.json"
    metrics = json.loads(report.read_text())["metrics"]
    good = contents(bundle.folder / "cache")
    path = next(path for path in (bundle.folder / "cache").iterdir() if path.suffix == suffix)
    path.write_bytes(damage(path.read_bytes()))
    second = bundle.evaluate(dataset, settings)
    assert second.returncode == 0, second.output[-3000:]
    assert "is damaged and will be computed again" in second.output
    assert contents(bundle.folder / "cache") == good
    assert json.loads(report.read_text())["metrics"] == metrics


@pytest.mark.row(34)
def test_a_phantom_that_was_killed_half_way_is_not_taken_for_whole(command, tmp_path):
    """The process that writes the phantom is killed after its first image; the next one writes the whole set."""
    cache = tmp_path / "cache/phantoms"
    code = "$monai_ext.data.phantom('brain_mr', num_training=1, num_validation=0, num_testing=1)"
    (tmp_path / "phantom.json").write_text(json.dumps({"imports": ["$import monai_ext"], "run": code}))
    words = ["-m", "monai.bundle", "run", "run", "--config_file", tmp_path / "phantom.json"]
    options = {"env": {"MONAI_EXT_CACHE": str(tmp_path / "cache")}, "cwd": tmp_path}
    killed = command(*words, **options, kill_when=lambda: any(cache.rglob("*.nii.gz")))
    assert killed.returncode == -signal.SIGKILL
    left = list(cache.iterdir())
    assert left
    assert not any(_is_whole(folder) for folder in left)
    started = time.time()
    assert command(*words, **options).returncode == 0
    (whole,) = [folder for folder in cache.iterdir() if _is_whole(folder)]
    assert not whole.name.startswith(".")
    files = [path for path in whole.rglob("*.nii.gz")]
    assert all(path.stat().st_mtime > started - 1 for path in files)  # nothing of the half set was used
    assert np.all([path.stat().st_size > 1000 for path in files])
