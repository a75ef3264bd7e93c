"""The start of a phase: its folder, its seeds, and types of the command line."""

import os
import random

import numpy as np
import torch
from monai.bundle import ConfigParser

from monai_ext.bundle import bundle_name, remember_run, running_record


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
