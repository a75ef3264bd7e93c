"""Who may be chosen, and the datalist after a choice."""

import json

import pytest

from monai_ext.data import load_datalist, load_labelled, load_scans
from monai_ext.errors import ConfigError, DataError
from monai_ext.select.patients import read_patients, write_choice

MINE = ["p00", "p02", "p03", "p04", "p06", "p07", "p08", "p09", "p10"]


def test_neither_testing_nor_the_validation_fold(scans):
    found = read_patients(scans / "datalist.json", scans, 0)
    assert list(found.scans) == MINE
    assert found.labelled == {"p00", "p09"}
    assert found.held_out == found.judging == {"p05", "p11"}
    assert found.scans["p02"][0]["image"] == str(scans / "p02.nii.gz")
    assert set(read_patients(scans / "datalist.json", scans).scans) == {*MINE, "p05", "p11"}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("none", set()),
        ("p02,p03", {"p02", "p03"}),
        (("p02", "p09"), {"p02", "p09"}),
        ("training", {"p00", "p09"}),
        ("unlabelled", {"p02", "p03", "p04", "p06", "p07", "p08", "p10"}),
    ],
)
def test_who_has_labels(scans, given, wanted):
    assert read_patients(scans / "datalist.json", scans, 0, given).labelled == wanted


def test_wrong_names_and_empty_sets_are_said(scans):
    with pytest.raises(ConfigError, match=r"'p2', no patient .*did you mean"):
        read_patients(scans / "datalist.json", scans, 0, "p2")
    with pytest.raises(ConfigError, match="'p05', no patient"):  # of the validation fold
        read_patients(scans / "datalist.json", scans, 0, "p05")
    with pytest.raises(DataError, match="no patient in training or unlabelled outside of fold"):
        read_patients(scans / "datalist.json", scans, [0, 1, 2, 3])


def test_a_scan_that_cannot_be_used_is_named_and_the_others_go_on(scans):
    (scans / "p03.nii.gz").write_bytes(b"torn")
    (scans / "p11.nii.gz").write_bytes(b"torn too")  # of the validation fold
    found = read_patients(scans / "datalist.json", scans, 0)
    assert list(found.broken) == ["p03"]
    assert list(found.scans) == MINE


def test_the_datalist_is_what_a_training_takes(scans, tmp_path):
    write_choice(scans / "datalist.json", tmp_path / "chosen.json", 0, ["p00", "p02", "p07"])
    written = json.loads((tmp_path / "chosen.json").read_text())
    before = json.loads((scans / "datalist.json").read_text())
    assert written["testing"] == before["testing"]
    assert (written["name"], written["labels"]) == (before["name"], before["labels"])
    whole = [item for name in ("training", "unlabelled") for item in written[name]]
    assert sorted(item["id"] for item in whole) == sorted([*MINE, "p05", "p11"])
    teach = load_datalist(tmp_path / "chosen.json", scans, exclude_folds=0)
    assert [(item["id"], "label" in item) for item in teach] == [("p00", True), ("p02", True), ("p07", False)]
    assert [item["id"] for item in load_labelled(tmp_path / "chosen.json", scans, None, 0)] == ["p00", "p02"]
    validation = load_labelled(tmp_path / "chosen.json", scans, 0)
    assert validation == load_labelled(scans / "datalist.json", scans, 0)
    pretraining = load_scans(tmp_path / "chosen.json", scans, 0)
    assert sorted(item["id"] for item in pretraining) == MINE
    assert {item["id"] for item in pretraining if "label" in item} == {"p00", "p02"}


def test_a_decathlon_list_of_bare_paths(scans, tmp_path):
    content = {"training": ["p00.nii.gz", "p02.nii.gz"], "test": ["p01.nii.gz"], "numTraining": 2}
    (tmp_path / "bare.json").write_text(json.dumps(content))
    found = read_patients(tmp_path / "bare.json", scans)
    assert list(found.scans) == ["p00", "p02"]
    write_choice(tmp_path / "bare.json", tmp_path / "chosen.json", None, ["p02"])
    written = json.loads((tmp_path / "chosen.json").read_text())
    assert written["training"] == [{"image": "p02.nii.gz", "id": "p02"}]
    assert written["unlabelled"] == [{"image": "p00.nii.gz", "id": "p00"}]
    assert (written["test"][0]["image"], written["numTraining"]) == ("p01.nii.gz", 2)


def test_a_place_that_cannot_be_written(scans, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write --out"):
        write_choice(scans / "datalist.json", tmp_path / "file/chosen.json", 0, ["p00"])
