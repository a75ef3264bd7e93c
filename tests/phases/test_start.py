"""The start of a phase: its folder, its seeds, and types of the command line."""

import os
import random
import signal
import subprocess
import sys

import numpy as np
import torch
from monai.bundle import ConfigParser

from monai_ext.bundle import bundle_name, remember_run, running_record

KILLED = """
import os, signal, sys
from monai_ext.data.io.whole_file import whole_file
writing = [whole_file(path) for path in sys.argv[1:]]
for file in writing:
    file.__enter__().write_text("half")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_killed_runs_left_of_output_and_product_is_removed(tmp_path):
    root, out, models = tmp_path / "tiny", tmp_path / "output", tmp_path / "models"
    (root / "configs").mkdir(parents=True)
    (root / "configs/metadata.json").write_text("{}")
    for path in (out / "last.pt", out / "preview/a.png", models / "model.pt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("whole")
    command = [sys.executable, "-c", KILLED, out / "last.pt", out / "preview/a.png", models / "model.pt"]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    assert len(left(tmp_path)) == 3
    config = {"imports": ["$import monai_ext"], "bundle_root": str(root), "output_dir": str(out)}
    config |= {"product": str(models / "model.pt"), "initialize": "$monai_ext.phases.start()"}
    try:
        ConfigParser(config).get_parsed_content("initialize")
    finally:
        remember_run(tmp_path)
        torch.use_deterministic_algorithms(False)
    assert left(tmp_path) == []
    assert (out / "last.pt").read_text() == (models / "model.pt").read_text() == "whole"


def left(folder):
    """Hidden files, but for locks."""
    return [path for path in folder.rglob(".*") if path.is_file() and not path.name.endswith(".lock")]


def test_start_seeds_and_records(tmp_path, monkeypatch):
    root = tmp_path / "tiny"
    (root / "configs").mkdir(parents=True)
    (root / "configs/metadata.json").write_text("{}")
    config = {
        "imports": ["$import monai_ext"],
        "bundle_root": str(root),
        "output_dir": str(root / "output"),
        "seed": 3,
        "initialize": "$monai_ext.phases.start()",
        "draw": "$__import__('torch').rand(1).item()",
    }

    def draws():
        parser = ConfigParser(config)
        parser.get_parsed_content("initialize")
        return torch.rand(1).item(), np.random.rand(), random.random()

    try:
        assert draws() == draws()
        assert bundle_name() == "tiny"
        assert running_record()["settings"]["seed"] == 3
        assert os.path.isfile(root / "output/.lock")
    finally:
        remember_run(tmp_path)
        torch.use_deterministic_algorithms(False)
