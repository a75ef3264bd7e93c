"""Hostile and random input for every loader: an error with a name or a result, no hang, no memory out of proportion.

Each loader gets 240 inputs. One process with a limited address space reads them all; a crash of a library would end it.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz_inputs import BUDGET

INPUTS = 240
CODE = Path(__file__).with_name("fuzz_inputs.py")
LOADERS = ["nifti", "meta_header", "nrrd", "dicom", "datalist", "checkpoint", "nifti_gz", "nrrd_header", "meta_image"]


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Results of the inputs, by loader."""
    folder = tmp_path_factory.mktemp("fuzz")
    command = [sys.executable, str(CODE), ",".join(LOADERS), str(INPUTS), str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, f"{run.stdout[-1500:]}\n{run.stderr[-3000:]}"
    return {report["loader"]: report for report in map(json.loads, run.stdout.splitlines())}


@pytest.mark.row(36)
@pytest.mark.parametrize("loader", LOADERS)
def test_fuzzed_input_gives_named_errors_only(reports, loader):
    report = reports[loader]
    assert report["unnamed"] == []
    assert report["inputs"] == INPUTS
    assert report["named"] > INPUTS // 4  # most inputs are broken, and are refused
    assert report["read"] > 0
    assert report["slowest"] < 5  # seconds of the processor
    assert report["refused_mb"] < 1.2 * BUDGET * 4 / 2**20  # above what reading good files takes
