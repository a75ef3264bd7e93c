"""Your own scans by the patterns of their names."""

import shutil

import nibabel as nib
import numpy as np
import pytest

from monai_ext.data import load_datalist
from monai_ext.datalist.pairs import pairs
from monai_ext.datalist.totalsegmentator_classes import CLASSES_V2
from monai_ext.errors import ConfigError, DataError


def test_pairs_with_patients_and_folders(tmp_path, image, converted, folds):
    for patient, case in (("p1", "a"), ("p1", "b"), ("p2", "a")):
        image(tmp_path / f"ct/{patient}/{case}_x.nii.gz")
        image(tmp_path / f"seg/{patient}-{case}.nii.gz", [1])
    image(tmp_path / "ct/p3/a_x.nii.gz")
    options = {"image": "ct/{patient}/{case}_x.nii.gz", "label": "seg/{patient}-{case}.nii.gz"}
    content, _ = converted(pairs, tmp_path, **options, key="ct", num_folds=2)
    assert list(folds(content)) == ["p1_a", "p1_b", "p2_a"]
    assert folds(content)["p1_a"] == folds(content)["p1_b"]
    assert content["training"][1] | {"fold": 0} == {
        **{"id": "p1_b", "patient": "p1", "ct": "ct/p1/b_x.nii.gz", "label": "seg/p1-b.nii.gz", "fold": 0}
    }
    assert [item["id"] for item in content["unlabelled"]] == ["p3_a"]
    with pytest.raises(ConfigError, match="case"):
        converted(pairs, tmp_path, image="ct.nii.gz")
    with pytest.raises(DataError, match="no case"):
        converted(pairs, tmp_path, image="mr/{case}.nii.gz")


def test_pairs_compact_numbers_the_values_over_all_cases(tmp_path, image, converted):
    for case, voxels in (("a", [5, 0, 117]), ("b", [63, 5])):
        image(tmp_path / f"{case}_ct.nii.gz")
        image(tmp_path / f"{case}_seg.nii.gz", voxels)
    content, _ = converted(pairs, tmp_path, image="{case}_ct.nii.gz", label="{case}_seg.nii.gz", compact=True)
    assert content["labels"] == {"1": "5", "2": "63", "3": "117"}
    lines = [np.asarray(nib.load(tmp_path / i["label"]).dataobj)[1, 2, :3].tolist() for i in content["training"]]
    assert lines == [[1, 0, 3], [2, 1, 0]]
    (tmp_path / "b_seg.nii.gz").write_bytes(b"")
    with pytest.raises(DataError, match="case b"):
        converted(pairs, tmp_path, image="{case}_ct.nii.gz", label="{case}_seg.nii.gz", compact=True)


def test_pairs_on_a_ct_with_61_structures(tmp_path, real_data, converted):
    for name in ("example_ct", "example_seg_fast_force_split"):
        shutil.copy(real_data("ct_multiorgan") / f"{name}.nii.gz", tmp_path)
    options = {"image": "{case}_ct.nii.gz", "label": "{case}_seg_fast_force_split.nii.gz", "compact": True}
    content, _ = converted(pairs, tmp_path, **options)
    (item,) = content["training"]
    before = np.asarray(nib.load(tmp_path / "example_seg_fast_force_split.nii.gz").dataobj)
    after = np.asarray(nib.load(tmp_path / item["label"]).dataobj)
    names = {int(value): name for value, name in content["labels"].items()}
    assert list(names) == list(range(1, 62))
    for value, name in names.items():
        np.testing.assert_array_equal(after == value, before == CLASSES_V2.index(name) + 1)
    load_datalist(tmp_path / "datalist.json", tmp_path, required_keys=["image", "label"])
