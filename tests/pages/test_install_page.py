"""Blocks of the page on installing, with the real pip, for somebody who has Python and a clone, or Python and a zip."""

import os
import re
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pack_bundle
import pytest
import torch
from monai.bundle import ConfigParser
from page_blocks import ROOT, read_blocks

from monai_ext.derive import derive

pytestmark = pytest.mark.slow
BLOCKS = [block.text for block in read_blocks(ROOT / "ci/pages/install.md")]


@pytest.fixture
def run(tmp_path):
    """``run(text, folder)``: a block and what is typed after it, in one shell; ``/scans`` lies in the test's folder."""
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin/python"
    python.write_text(f'#!/bin/sh\nexec "{sys._base_executable}" "$@"\n')
    python.chmod(0o755)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV", "MONAI_"))}
    environment = {**kept, "HOME": str(tmp_path), "PATH": f"{tmp_path}/bin:/usr/bin:/bin"}

    def run_block(text, folder):
        text = re.sub(r"(?<= )/(scans|masks)\b", lambda match: f"{tmp_path}/{match[1]}", text)
        ended = subprocess.run(
            ["bash", "-ec", text], cwd=folder, env=environment, capture_output=True, text=True, timeout=3000
        )
        assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
        return ended.stdout

    return run_block


def test_from_a_clone_without_the_packages_of_the_tests(run, tmp_path):
    clone = tmp_path / "clone"
    runs = shutil.ignore_patterns("__pycache__", "models", "output", "demo", "rows", "mlruns*")
    for folder in ("bundles", "monai_ext"):
        shutil.copytree(ROOT / folder, clone / folder, ignore=runs)
    for file in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, clone)
    block = next(text for text in BLOCKS if text.startswith("python -m venv .venv"))
    out = run(f"{block}python -c 'import monai_ext; print(monai_ext.__file__)'\npip list\n{TRAIN}", clone)
    assert str(clone / "monai_ext") in out
    assert not re.search("(?m)^(ruff|hypothesis|mlflow) ", out)
    assert (clone / "bundles/anatomask/demo/models/model.pt").is_file()


TRAIN = (
    "python -W ignore -m monai.bundle run training --max_epochs 1 --num_crops 2 --pretrained null "
    """--config_file "['bundles/anatomask/configs/train.json','bundles/anatomask/configs/demo.json']"\n"""
)


@pytest.fixture
def zip_of_a_bundle(tmp_path):
    """What ``ci/pack`` writes of the bundle that the page names, in the sizes of ``demo.json``, with weights."""
    source = ROOT / "bundles/anatomask"
    derive(str(source), "anatomask", [str(source / "configs/demo.json")], out=str(tmp_path / "derived"))
    bundle = tmp_path / "derived/anatomask"
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs/inference.json"))
    parser["bundle_root"] = str(bundle)
    (bundle / "models").mkdir(exist_ok=True)
    torch.save(parser.get_parsed_content("network_def").state_dict(), bundle / "models/model.pt")
    (bundle / "docs/model_card.md").write_text(f"sha256: {pack_bundle.sha256(bundle / 'models/model.pt')}\n")
    return pack_bundle.pack(bundle, tmp_path / "empty")


def test_the_wheel_and_a_bundle_without_a_clone(run, zip_of_a_bundle, tmp_path):
    (tmp_path / "scans").mkdir()
    voxels = np.random.default_rng(0).normal(0, 300, (30, 30, 20)).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, np.diag([6, 6, 6, 1])), tmp_path / "scans/p1.nii.gz")
    run(next(text for text in BLOCKS if text.startswith("unzip")), zip_of_a_bundle.parent)
    assert nib.load(tmp_path / "masks/p1/p1_seg.nii.gz").shape == (30, 30, 20)
