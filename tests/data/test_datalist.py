import json

import pytest

from monai_ext.data import load_datalist, load_studies
from monai_ext.errors import DataError


def test_items_come_with_absolute_paths_and_all_their_fields(dataset):
    items = load_datalist(dataset.path, dataset.root, folds=1, required_keys=["t2w", "label"])
    assert [item["id"] for item in items] == ["b"]
    assert items[0]["t2w"] == str(dataset.root / "b_t2w.nii.gz")
    assert items[0]["center"] == "X"
    assert items[0]["patient"] == "b"
    both = load_datalist(dataset.path, dataset.root, section=["training", "testing"])
    assert [item["id"] for item in both] == ["a", "b", "c"]


def test_stacked_modalities_stay_a_list(dataset):
    dataset.content["training"][0]["image"] = ["a_t2w.nii.gz", "a_adc.nii.gz"]
    dataset.save()
    item = load_datalist(dataset.path, dataset.root, folds=0)[0]
    assert item["image"] == [str(dataset.root / "a_t2w.nii.gz"), str(dataset.root / "a_adc.nii.gz")]


def test_an_item_without_label_is_legal_unless_required(dataset):
    del dataset.content["training"][0]["label"]
    dataset.save()
    assert len(load_datalist(dataset.path, dataset.root)) == 2
    with pytest.raises(DataError, match=r"case a: 'label' is missing; the case has t2w, adc"):
        load_datalist(dataset.path, dataset.root, required_keys=["label"])


def test_all_missing_files_are_in_one_error(dataset):
    for name in ("a_t2w", "a_adc", "b_label"):
        (dataset.root / f"{name}.nii.gz").unlink()
    with pytest.raises(DataError) as caught:
        load_datalist(dataset.path, dataset.root)
    assert caught.value.exit_code == 3
    assert len(caught.value.problems) == 3
    for name in ("a_t2w", "a_adc", "b_label"):
        assert str(dataset.root / f"{name}.nii.gz") in str(caught.value)


def test_the_msd_form_is_a_datalist(dataset):
    form = {
        "name": "x",
        "labels": {"0": "background"},
        "training": [{"image": "a_t2w.nii.gz", "label": "a_label.nii.gz"}],
    }
    dataset.path.write_text(json.dumps(form | {"test": ["b_t2w.nii.gz"]}))
    assert load_datalist(dataset.path, dataset.root)[0]["id"] == "a"
    assert load_datalist(dataset.path, dataset.root, section="test")[0]["image"] == str(dataset.root / "b_t2w.nii.gz")


def test_no_datalist(dataset):
    with pytest.raises(DataError, match="no such datalist"):
        load_datalist(dataset.root / "other.json", dataset.root)


def test_optional_sections_join_where_there_are_any(dataset):
    assert len(load_datalist(dataset.path, dataset.root, optional_sections=["unlabelled"])) == 2
    dataset.content["unlabelled"] = [dataset.content["training"].pop()]
    dataset.save()
    assert [i["id"] for i in load_datalist(dataset.path, dataset.root)] == ["a"]
    joined = load_datalist(dataset.path, dataset.root, optional_sections=["unlabelled"])
    assert [i["id"] for i in joined] == ["a", "b"]


def test_studies_are_items_or_a_file(dataset):
    assert load_studies([{"id": "x", "image": "/a.nii"}]) == [{"id": "x", "image": "/a.nii"}]
    found = load_studies(dataset.path)
    assert [item["id"] for item in found] == ["a", "b", "c"]
    assert found[0]["t2w"] == str(dataset.root / "a_t2w.nii.gz")
    assert [item["id"] for item in load_studies(str(dataset.path), "testing")] == ["c"]
    (dataset.root / "a_t2w.nii.gz").unlink()  # the run names it as the failure of its study
    assert len(load_studies(dataset.path)) == 3
    with pytest.raises(DataError, match=r"no section 'tests'\. There are training, testing"):
        load_studies(dataset.path, "tests")
    with pytest.raises(DataError, match="an item of the datalist is 'n'"):
        load_studies(["n"])
