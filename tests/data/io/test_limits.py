import json
import subprocess
import sys

import itk
import nibabel as nib
import numpy as np
import pytest
import torch

from monai_ext.data.io.limits import BYTES, DEFAULT, Limits, check_budget, voxel_budget
from monai_ext.errors import ConfigError, DataError


def grid(*spacing):
    return torch.diag(torch.tensor([*spacing, 1.0]))


def test_the_default_takes_a_body_in_thin_slices_and_the_environment_changes_it(monkeypatch):
    check_budget(512 * 512 * 2048, "a.nii")
    with pytest.raises(
        DataError,
        match=r"a.nii: 536870913 voxels take 8.0 GiB .*_VOXELS=5",
    ):
        check_budget(DEFAULT + 1, "a.nii")
    monkeypatch.setenv("MONAI_EXT_MAX_VOXELS", "1000")
    assert voxel_budget() == 1000
    with pytest.raises(DataError, match="at most 1000"):
        check_budget(1001, "a.nii")
    for wrong in ("many", "-1", "0", "1e9"):
        monkeypatch.setenv("MONAI_EXT_MAX_VOXELS", wrong)
        with pytest.raises(ConfigError, match="no number of voxels"):
            voxel_budget()


@pytest.mark.parametrize("factor", [10, 30, 0.001])
def test_a_header_in_another_unit(factor):
    limits = Limits(spacing=(0.05, 20), extent=(10, 650))
    limits.check(grid(0.5, 0.5, 3), (384, 384, 24))
    with pytest.raises(DataError, match=r"case p1: a.nii: .* mm are expected.*preprocessing#limits"):
        limits.check(grid(0.5 * factor, 0.5 * factor, 3 * factor), (384, 384, 24), "p1", "a.nii")


@pytest.mark.parametrize(
    ("spacing", "shape", "cause"),
    [
        ((0.5, 0.5, 25), (384, 384, 10), "voxels of 0.5 x 0.5 x 25 mm; 0.05 to 20 mm"),
        ((0.04, 0.5, 3), (384, 384, 24), "voxels of 0.04 x 0.5 x 3 mm; 0.05 to 20 mm"),
        ((2, 2, 3), (400, 100, 24), "a field of view of 800 x 200 x 72 mm; 10 to 650 mm"),
        ((0.5, 0.5, 3), (384, 384, 2), "a field of view of 192 x 192 x 6 mm; 10 to 650 mm"),
        ((2, 2, 3), (250, 250, 24), "a field of view of 500 mm; 10 to 400 mm"),
    ],
)
def test_each_limit_holds_by_itself(spacing, shape, cause):
    limits = Limits(spacing=(0.05, 20), extent=(10, 650), width=(10, 400))
    with pytest.raises(DataError, match=f"{cause} are expected"):
        limits.check(grid(*spacing), shape)


def test_one_axis_may_be_long_but_not_two():
    limits = Limits(extent=(10, 2300), width=(10, 1000))
    for shape in ((200, 200, 1000), (1000, 200, 200)):
        limits.check(grid(2, 2, 2), shape)
    with pytest.raises(DataError, match="a field of view of 2e\\+03 mm; 10 to 1000 mm"):
        limits.check(grid(2, 2, 2), (1000, 200, 1000))


def test_some_are_changed_by_name():
    changed = Limits().changed({"extent": [1, 9000]})
    assert changed.extent == (1, 9000)
    assert changed.spacing == Limits().spacing
    assert Limits().changed(None) == Limits()
    for wrong in ({"size": [1, 2]}, {"extent": [3]}, {"extent": [3, 1]}):
        with pytest.raises(ValueError, match="limits"):
            Limits().changed(wrong)


SIDE = 256  # below that, some ten MiB of libraries are felt
REFUSE = r"""
import json, os, re, sys
from monai_ext.errors import DataError
from monai_ext.transforms.load import LoadVolumed

def memory(name):
    return int(re.search(name + r":\s+(\d+) kB", open("/proc/self/status").read())[1]) * 1024

def load(file):
    try:
        LoadVolumed(["image"])({"image": file})
    except DataError as error:
        return error.cause

for file in json.loads(sys.argv[1]):  # libraries that a reader loads
    load(file)
for file in json.loads(sys.argv[2]):
    if pid := os.fork():
        os.waitpid(pid, 0)
        continue
    open("/proc/self/clear_refs", "w").write("5")  # forget the peak so far
    before = memory("VmRSS")
    cause = load(file)
    print(json.dumps([file, cause, memory("VmHWM") - before]), flush=True)
    os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_scan_that_is_refused_once_decoded_stays_within_the_memory_that_is_told(tmp_path, monkeypatch):
    """The largest scan that is read, in each format and type, refused for a voxel that is NaN: below 1.2 times that."""
    small, large = [], []
    for side, files in ((16, small), (SIDE, large)):
        for kind in ("float32", "float64"):
            values = np.zeros((side,) * 3, kind)
            values[-1] = np.nan
            for ending in ("nii", "nii.gz", "mha", "nrrd"):
                files.append(str(tmp_path / f"{side}_{kind}.{ending}"))
                if ending.startswith("nii"):
                    nib.save(nib.Nifti1Image(values, np.eye(4)), files[-1])
                else:
                    itk.imwrite(itk.image_from_array(values), files[-1])
    monkeypatch.setenv("MONAI_EXT_MAX_VOXELS", str(SIDE**3))
    command = [sys.executable, "-W", "ignore", "-c", REFUSE, json.dumps(small), json.dumps(large)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert [file for file, _, _ in found] == large
    for file, cause, peak in found:
        assert "NaN" in cause, file
        assert 4 * SIDE**3 < peak < 1.2 * BYTES * SIDE**3, (file, peak / BYTES / SIDE**3)
