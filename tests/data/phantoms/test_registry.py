"""The phantom cache is complete or absent, for any number of processes."""

import json
import logging
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest

from monai_ext.data.phantoms import cache_root, phantom, registry
from monai_ext.errors import ConfigError


def _toy(directory, size=4):
    np.save(directory / "a.npy", np.arange(size))
    return {"training": [{"id": "a", "fold": 0, "image": "a.npy"}]}


@pytest.fixture
def toy(monkeypatch, tmp_path):
    monkeypatch.setenv("MONAI_EXT_CACHE", str(tmp_path))
    monkeypatch.setattr(registry, "_REGISTRY", {"toy": (_toy, 1)})


def test_generated_once_and_announced_as_synthetic(toy, caplog):
    with caplog.at_level(logging.WARNING):
        first = Path(phantom("toy"))
    before = (first / "a.npy").stat().st_mtime_ns
    assert [record for record in caplog.records if "SYNTHETIC" in record.message]
    assert phantom("toy") == str(first)
    assert (first / "a.npy").stat().st_mtime_ns == before
    assert json.loads((first / "datalist.json").read_text())["training"][0]["id"] == "a"


def test_parameters_and_version_name_the_directory(toy, monkeypatch):
    default = phantom("toy")
    assert phantom("toy", size=4) == default
    assert phantom("toy", size=5) != default
    monkeypatch.setattr(registry, "_REGISTRY", {"toy": (_toy, 2)})
    assert phantom("toy") != default


@pytest.mark.row(34)
def test_an_interrupted_generation_leaves_nothing(toy, monkeypatch):
    def interrupted(directory, size=4):
        _toy(directory, size)
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "_REGISTRY", {"toy": (interrupted, 1)})
    with pytest.raises(KeyboardInterrupt):
        phantom("toy")
    assert list(cache_root().iterdir()) == []


def test_what_a_killed_process_left_is_not_used_and_goes_after_a_day(toy):
    directory = Path(phantom("toy"))
    left = directory.with_name(f".{directory.name}.0123")
    directory.rename(left)
    (left / "manifest.json").unlink()
    assert (Path(phantom("toy")) / "manifest.json").exists()
    assert left.exists()  # its process may still be at work
    os.utime(left, (0, time.time() - 2 * 24 * 3600))
    (directory / "a.npy").unlink()
    phantom("toy")
    assert not left.exists()


@pytest.mark.parametrize("damage", ["remove", "truncate"])
def test_a_damaged_set_is_generated_again(toy, damage):
    file = Path(phantom("toy")) / "a.npy"
    whole = file.read_bytes()
    file.unlink() if damage == "remove" else file.write_bytes(whole[:-3])
    phantom("toy")
    assert file.read_bytes() == whole
    assert len(list(cache_root().iterdir())) == 1


def _slow(directory, size=4):
    time.sleep(0.3)
    return _toy(directory, size)


def _ask(root, results):
    os.environ["MONAI_EXT_CACHE"] = root
    registry._REGISTRY["slow"] = (_slow, 1)
    results.put(phantom("slow"))


def test_two_processes_at_once_get_the_same_whole_set(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=_ask, args=(str(tmp_path), results)) for _ in range(2)]
    for process in processes:
        process.start()
    directories = {results.get(timeout=30) for _ in processes}
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(directories) == 1
    assert [path.name for path in (tmp_path / "phantoms").iterdir()] == [Path(directories.pop()).name]


def test_wrong_names_and_parameters(toy):
    with pytest.raises(ValueError, match="known are toy"):
        phantom("nothing")
    with pytest.raises(ValueError, match="sise"):
        phantom("toy", sise=3)


def test_a_cache_that_cannot_be_written(toy, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MONAI_EXT_CACHE", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="MONAI_EXT_CACHE"):
        phantom("toy")


def test_cache_root_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("MONAI_EXT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root() == tmp_path / "monai_ext" / "phantoms"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == Path.home() / ".cache" / "monai_ext" / "phantoms"
