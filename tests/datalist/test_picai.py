"""PI-CAI on a small tree in its layout, with the official splits in each of their forms."""

import json

import pytest

from monai_ext.data import check_datalist, load_datalist
from monai_ext.datalist.picai import picai, read_splits
from monai_ext.errors import ConfigError, DataError


def official_folds(picai_root):
    cases = [f"{10000 + max(n - 1, 0)}_{1000000 + n}" for n in range(7)]
    return {0: cases[:2], 1: cases[2:4], 2: cases[4:]}


def test_picai(picai_root, tmp_path):
    out = tmp_path / "picai.json"
    report = picai(str(picai_root), str(out), num_folds=2)
    content = json.loads(out.read_text())
    assert [len(content[section]) for section in ("training", "unlabelled")] == [6, 1]
    first = content["training"][0]
    assert first["id"] == "10000_1000000"
    assert first["t2w"] == "images/10000/10000_1000000_t2w.mha"
    assert first["label"].endswith("human_expert/resampled/10000_1000000.nii.gz")
    assert first["zones"].endswith("HeviAI23/10000_1000000.nii.gz")
    assert (first["isup"], first["center"]) == (3, "RUMC")
    folds = {(item["patient"], item["fold"]) for section in ("training", "unlabelled") for item in content[section]}
    assert len(folds) == 6  # both studies of a patient are in one fold
    assert {line.split()[0]: line.split()[1:] for line in report.splitlines()[1:3]}["training"] == ["6", "5", "2"]
    assert check_datalist(out, picai_root) == []
    assert len(load_datalist(out, picai_root, section=["training", "unlabelled"], folds=0)) in (3, 4)


def test_picai_other_labels_move_the_unlabelled_case(picai_root, tmp_path):
    out = tmp_path / "picai.json"
    picai(str(picai_root), str(out), labels="ai")
    content = json.loads(out.read_text())
    assert "unlabelled" not in content
    assert len(content["training"]) == 7
    with pytest.raises(ConfigError, match="human_expert"):
        picai(str(picai_root), str(out), labels="experts")


@pytest.mark.parametrize("form", ["directory", "json", "csv"])
def test_picai_official_splits_in_each_form(picai_root, tmp_path, form, table):
    official = official_folds(picai_root)
    if form == "directory":
        path = tmp_path / "splits"
        path.mkdir()
        for fold, cases in official.items():
            (path / f"ds-config-valid-fold-{fold}.json").write_text(json.dumps({"subject_list": cases}))
    elif form == "json":
        path = tmp_path / "splits.json"
        path.write_text(json.dumps([{"train": [], "val": cases} for cases in official.values()]))
    else:
        path = tmp_path / "splits.csv"
        table(path, [{"case": case, "fold": fold} for fold, cases in official.items() for case in cases])
    out = tmp_path / "picai.json"
    picai(str(picai_root), str(out), splits=str(path))
    content = json.loads(out.read_text())
    found = {item["id"]: item["fold"] for section in ("training", "unlabelled") for item in content[section]}
    assert found == {case: fold for fold, cases in official.items() for case in cases}


def test_picai_splits_that_tear_a_patient_or_lack_a_case(picai_root, tmp_path):
    path = tmp_path / "splits.json"
    path.write_text(json.dumps([{"val": ["10000_1000000"]}, {"val": ["10000_1000001"]}]))
    with pytest.raises(DataError, match="10000"):
        read_splits(path)
    path.write_text(json.dumps([{"val": cases} for cases in list(official_folds(picai_root).values())[:2]]))
    report = picai(str(picai_root), str(tmp_path / "x.json"), splits=str(path))
    assert "skipped: 3" in report
    path.write_text("{}")
    with pytest.raises(DataError, match="splits"):
        read_splits(path)
