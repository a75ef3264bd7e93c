"""What all converters share: folds by patient, the check of all files, the report."""

import hashlib
import json

import numpy as np
import pytest

from monai_ext.data import check_datalist
from monai_ext.datalist.picai import picai
from monai_ext.datalist.writer import Collection, assign_folds, has_foreground
from monai_ext.errors import ConfigError, DataError


def test_all_missing_and_unreadable_files_at_once_and_nothing_written(picai_root, tmp_path):
    (picai_root / "images/10001/10001_1000002_adc.mha").unlink()
    (picai_root / "images/10003/10003_1000004_hbv.mha").unlink()
    (picai_root / "images/10004/10004_1000005_t2w.mha").write_bytes(b"")
    out = tmp_path / "picai.json"
    with pytest.raises(DataError) as caught:
        picai(str(picai_root), str(out))
    for name in ("10001_1000002_adc.mha", "10003_1000004_hbv.mha", "10004_1000005_t2w.mha"):
        assert name in str(caught.value)
    assert list(tmp_path.glob("*picai.json*")) == []
    report = picai(str(picai_root), str(out), skip_incomplete=True)
    assert "skipped: 3" in report
    assert check_datalist(out, picai_root) == []


def test_folds_are_stratified_even_and_independent_of_order():
    patients = {f"p{n}": n % 4 == 0 for n in range(203)}
    folds = assign_folds(patients)
    assert folds == assign_folds(dict(reversed(patients.items())))
    sizes = np.bincount(list(folds.values()))
    positives = np.bincount([folds[p] for p, positive in patients.items() if positive])
    assert np.ptp(sizes) <= 1
    assert np.ptp(positives) <= 1


def test_one_fold_is_no_division():
    with pytest.raises(ConfigError, match="at least 2"):
        assign_folds({"a": True, "b": False}, 1)


@pytest.fixture
def collection(tmp_path, image):
    """Six patients of two cases each; of every patient the second has a lesion, and the last patient has no masks."""
    cases = Collection("set", tmp_path)
    for patient in "abcdef":
        for number in (0, 1):
            name = f"{patient}{number}"
            image(tmp_path / f"{name}.nii.gz")
            if patient != "f":
                image(tmp_path / f"{name}_seg.nii.gz", [0, 0, number])
            cases.add(name, {"image": tmp_path / f"{name}.nii.gz"}, {"label": tmp_path / f"{name}_seg.nii.gz"}, patient)
    return cases


def test_a_case_without_a_mask_is_unlabelled_and_a_lesion_is_read_from_the_mask(collection, tmp_path):
    report = collection.write(tmp_path / "list.json", num_folds=2)
    content = json.loads((tmp_path / "list.json").read_text())
    assert [item["id"] for item in content["unlabelled"]] == ["f0", "f1"]
    assert content["training"][1] == {
        **{"id": "a1", "patient": "a", "image": "a1.nii.gz", "label": "a1_seg.nii.gz"},
        "fold": content["training"][0]["fold"],
    }
    assert report.splitlines()[1].split() == ["training", "10", "5", "5"]
    folds = {(item["patient"], item["fold"]) for name in ("training", "unlabelled") for item in content[name]}
    assert len(folds) == 6


def test_patients_held_out_are_the_last_of_a_hash_and_leave_with_all_their_cases(collection, tmp_path):
    last = sorted("abcde", key=lambda patient: hashlib.sha256(patient.encode()).hexdigest())[-2:]
    collection.hold_out(2)
    collection.write(tmp_path / "list.json", num_folds=2)
    content = json.loads((tmp_path / "list.json").read_text())
    assert {item["patient"] for item in content["testing"]} == set(last)
    assert [len(content[name]) for name in ("training", "testing", "unlabelled")] == [6, 4, 2]
    assert all("fold" not in item for item in content["testing"])


@pytest.mark.parametrize("count", [-1, 5])
def test_it_holds_out_some_patients_not_all(collection, count):
    with pytest.raises(ConfigError, match="5 patients with labels"):
        collection.hold_out(count)


def test_what_only_the_converter_sees_is_reported_with_the_rest(collection, tmp_path):
    (tmp_path / "b0.nii.gz").unlink()
    collection.fault("c1", tmp_path / "c1_seg.nii.gz", "it is of another patient", "Ask for it.")
    with pytest.raises(DataError, match=r"(?s)another patient.*b0\.nii\.gz"):
        collection.write(tmp_path / "list.json", num_folds=2)
    assert not (tmp_path / "list.json").exists()
    report = collection.write(tmp_path / "list.json", num_folds=2, skip_incomplete=True)
    content = json.loads((tmp_path / "list.json").read_text())
    assert {item["id"] for item in content["training"]} == {"a0", "a1", "b1", "c0", "d0", "d1", "e0", "e1"}
    assert "skipped: 2" in report


def test_images_elsewhere_and_roots_that_are_none_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="is not a directory"):
        Collection("set", tmp_path / "none")
    (tmp_path / "root").mkdir()
    with pytest.raises(ConfigError, match="not below --root"):
        Collection("set", tmp_path / "root").add("a", {"image": tmp_path / "a.nii.gz"})
    with pytest.raises(DataError, match="no case of set"):
        Collection("set", tmp_path / "root").write(tmp_path / "list.json")


def test_foreground_is_anything_above_zero(tmp_path, image):
    for name, voxels, expected in (("none", [], False), ("some", [0, 5], True), ("below", [-1], False)):
        image(tmp_path / f"{name}.nii.gz", voxels)
        assert has_foreground(tmp_path / f"{name}.nii.gz") is expected
    (tmp_path / "damaged.nii.gz").write_bytes(b"no image")
    assert not has_foreground(tmp_path / "damaged.nii.gz")
    assert not has_foreground(tmp_path / "missing.nii.gz")
