"""Hostile and random input for every loader: an error with a name or a result, no hang, no memory out of proportion.

Each loader gets 240 inputs, in one process whose address space is limited; a crash of a library would end it.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

INPUTS = 240
SECONDS = 120
CODE = Path(__file__).with_name("fuzz_inputs.py")


@pytest.mark.row(36)
@pytest.mark.parametrize(
    "loader", ["nifti", "nifti_gz", "meta_image", "meta_header", "nrrd", "dicom", "datalist", "checkpoint"]
)
def test_fuzzed_input_gives_named_errors_only(loader, tmp_path):
    run = subprocess.run(
        [sys.executable, str(CODE), loader, str(INPUTS), str(tmp_path)], capture_output=True, text=True, timeout=900
    )
    assert run.returncode == 0, f"{run.stdout[-1500:]}\n{run.stderr[-3000:]}"
    report = json.loads(run.stdout.splitlines()[-1])
    assert report["unnamed"] == [], report
    assert report["inputs"] == INPUTS
    assert report["named"] > INPUTS // 4  # most inputs are broken, and are refused
    assert report["slowest"] < 30
    assert report["peak_mb"] < 600  # above what was needed before the first input
