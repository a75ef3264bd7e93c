import os

import pytest

from monai_ext.data.entries import case_of, files_of, patient_of, read_datalist, resolve, select
from monai_ext.errors import DataError


def test_files_are_told_from_what_describes_the_case():
    item = {
        "id": "1",
        "fold": 0,
        "center": "RUMC",
        "psa": 7.2,
        "t2w": "1/t2w.mha",
        "adc": "1/dicom/adc",
        "image": ["1/a.nii.gz", "1/b.nii.gz"],
    }
    assert files_of(item) == {"t2w": ["1/t2w.mha"], "adc": ["1/dicom/adc"], "image": ["1/a.nii.gz", "1/b.nii.gz"]}


def test_folds_select_and_exclude():
    items = [{"id": i, "fold": i} for i in range(4)] + [{"id": 9}]
    assert [i["id"] for i in select(items, 0)] == [0]
    assert [i["id"] for i in select(items, [1, 3])] == [1, 3]
    assert [i["id"] for i in select(items, exclude_folds=0)] == [1, 2, 3, 9]
    assert [i["id"] for i in select(items, [0, 1], exclude_folds=[1])] == [0]
    assert len(select(items)) == 5


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"training": 3}', '{"training": [1]}'])
def test_a_datalist_that_is_none(dataset, text):
    dataset.path.write_text(text)
    with pytest.raises(DataError, match="datalist"):
        read_datalist(dataset.path)


@pytest.mark.parametrize("key", ["id", "patient", "fold"])
def test_what_describes_a_case_is_a_word_or_a_number(dataset, key):
    dataset.content["training"][1][key] = ["a"]
    dataset.save()
    with pytest.raises(DataError, match=f"item 1 of 'training': its '{key}' is a list"):
        read_datalist(dataset.path)


@pytest.mark.parametrize(
    ("item", "case", "patient"),
    [
        ({"id": 7, "patient": "p"}, "7", "p"),
        ({"id": "a"}, "a", "a"),
        ({"t2w": "x/b_t2w.nii.gz"}, "b", "b"),
        ({"id": None, "patient": None, "t2w": "p1/t2w.mha"}, "p1", "p1"),
        ({"psa": 3}, "?", "?"),
    ],
)
def test_names_of_case_and_patient(item, case, patient):
    assert (case_of(item), patient_of(item)) == (case, patient)


@pytest.mark.parametrize("path", ["../x.nii", "a/../../x.nii", "/etc/x.nii"])
def test_paths_do_not_leave_the_data_set_unless_allowed(tmp_path, path):
    assert resolve(path, tmp_path) is None
    assert resolve(path, tmp_path, allow_outside=True) == os.path.normpath(tmp_path / path)


def test_paths_within_the_data_set_are_absolute(tmp_path):
    assert resolve("a/../b/./x.nii", tmp_path) == str(tmp_path / "b" / "x.nii")
    assert resolve(str(tmp_path / "x.nii"), tmp_path) == str(tmp_path / "x.nii")
    assert resolve("x\0.nii", tmp_path, allow_outside=True) is None
