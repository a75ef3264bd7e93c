"""CT of patients over time: the patient in a file's name or in its folder, masks left out."""

import pytest

from monai_ext.data import load_datalist
from monai_ext.datalist.longitudinal_ct import longitudinal_ct
from monai_ext.errors import DataError


def test_longitudinal_ct(tmp_path, image, converted):
    for patient in ("0a1", "1b2"):
        for name in ("BL_img_00", "FU_img_01"):
            image(tmp_path / f"inputsTr/{patient}_{name}.nii.gz")
        image(tmp_path / f"inputsTr/{patient}_BL_mask_00.nii.gz", [1])
        image(tmp_path / f"targetsTr/{patient}_FU_01.nii.gz", [1])
    image(tmp_path / "Smith/2019/scan.nii.gz")
    image(tmp_path / "Smith/2020/scan.nii.gz")
    content, _ = converted(longitudinal_ct, tmp_path, num_folds=2)
    assert list(content) == ["name", "unlabelled"]
    patients = [item["patient"] for item in content["unlabelled"]]
    assert patients == ["Smith", "Smith", "0a1", "0a1", "1b2", "1b2"]
    assert len({(item["patient"], item["fold"]) for item in content["unlabelled"]}) == 3
    items = load_datalist(tmp_path / "datalist.json", tmp_path, "unlabelled", required_keys=["ct"])
    assert [item["id"] for item in items][:3] == ["Smith_2019_scan", "Smith_2020_scan", "0a1_BL_img_00"]


def test_an_empty_tree_is_an_error(tmp_path, converted):
    with pytest.raises(DataError, match="no case"):
        converted(longitudinal_ct, tmp_path)
