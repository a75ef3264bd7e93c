"""Shares of several processes: all studies once, each failure named, the error of one ended process."""

import os

import nibabel as nib
import pytest

from monai_ext.bundle import Command
from monai_ext.errors import BundleError, CheckpointError
from monai_ext.predict.shares import ShareError, infer


def command(tiny, tmp_path, **settings):
    items = [{"id": path.name[:2], "image": str(path)} for path in sorted((tmp_path / "scans").iterdir())]
    places = {"datalist": items, "output_dir": str(tmp_path / "out"), "bundle_root": str(tiny)}
    return Command("inference", (str(tiny / "configs/inference.json"),), {**places, **settings})


def writers(tmp_path):
    """Which process wrote each mask: its rank is in the voxels; 7 is the process that started them."""
    masks = sorted((tmp_path / "out").glob("*/*_seg.nii.gz"))
    return {path.parent.name: int(nib.load(path).get_fdata().max()) for path in masks}


def test_one_process_is_this_one(tiny, tmp_path):
    assert infer(command(tiny, tmp_path)) == []
    assert writers(tmp_path) == {f"s{number}": 7 for number in range(5)}


@pytest.mark.slow
def test_several_take_every_other_study_and_name_their_failures(tiny, tmp_path):
    for number in (1, 2):
        (tmp_path / f"scans/s{number}.nii.gz").write_bytes(b"torn")
    failures = infer(command(tiny, tmp_path), processes=2)
    assert sorted(failure["id"] for failure in failures) == ["s1", "s2"]
    assert writers(tmp_path) == {"s0": 0, "s3": 1, "s4": 0}
    assert "RANK" not in os.environ


@pytest.mark.slow
def test_what_concerns_all_studies_is_one_error(tiny, tmp_path):
    wrong = command(tiny, tmp_path, mirror="left")
    with pytest.raises(BundleError, match="mirror") as alone:
        infer(wrong)
    with pytest.raises(ShareError, match="mirror") as together:
        infer(wrong, processes=2)
    assert alone.value.exit_code == together.value.exit_code == 2


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_its_studies(tiny, tmp_path):
    killed = "$(lambda item: os._exit(9)) if @rank else monai_ext.transforms.RestoreLabelsd()"
    with pytest.raises(ShareError, match="ended with code 9: its other studies are left"):
        infer(command(tiny, tmp_path, **{"writer#restore": killed}), processes=2)
    assert sorted(path.parent.name for path in (tmp_path / "out").glob("*/*_seg.nii.gz")) == ["s0", "s2", "s4"]


def test_an_error_keeps_its_kind_in_this_process(tiny, tmp_path, monkeypatch):
    def broken(**options):
        raise RuntimeError("MONAI says") from CheckpointError("torn weights")

    monkeypatch.setattr("monai_ext.predict.shares.run", broken)
    with pytest.raises(CheckpointError, match="torn weights"):
        infer(command(tiny, tmp_path))
