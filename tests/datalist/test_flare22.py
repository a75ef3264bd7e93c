"""FLARE22: labelled, unlabelled and tuning cases in the folders of its archives."""

import pytest

from monai_ext.datalist.flare22 import flare22
from monai_ext.errors import DataError


def test_flare22(tmp_path, image, converted, folds):
    for number in range(1, 7):
        image(tmp_path / f"FLARE22Train/images/FLARE22_Tr_{number:04d}_0000.nii.gz")
        image(tmp_path / f"FLARE22Train/labels/FLARE22_Tr_{number:04d}.nii.gz", [13])
    image(tmp_path / "Unlabeled/Case_00001_0000.nii.gz")
    image(tmp_path / "Tuning/images/FLARETs_0001_0000.nii.gz")
    image(tmp_path / "Tuning/labels/FLARETs_0001.nii.gz", [1])
    content, _ = converted(flare22, tmp_path)
    assert len(content["labels"]) == 13
    assert content["training"][0]["id"] == "FLARE22_Tr_0001"
    assert content["training"][0]["label"] == "FLARE22Train/labels/FLARE22_Tr_0001.nii.gz"
    assert sorted(set(folds(content).values())) == [0, 1, 2, 3, 4]
    assert [item["id"] for item in content["unlabelled"]] == ["Case_00001"]
    assert content["testing"][0]["label"] == "Tuning/labels/FLARETs_0001.nii.gz"
    for number in (1, 3):
        (tmp_path / f"FLARE22Train/labels/FLARE22_Tr_{number:04d}.nii.gz").unlink()
    with pytest.raises(DataError, match=r"(?s)Tr_0001.*Tr_0003"):
        converted(flare22, tmp_path)


def test_an_empty_tree_is_an_error(tmp_path, converted):
    with pytest.raises(DataError, match="no case"):
        converted(flare22, tmp_path)
