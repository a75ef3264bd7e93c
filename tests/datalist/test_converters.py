"""The converters on small trees in the official layouts, and on the real ones where they are at hand."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest

from monai_ext.data import check_datalist, load_datalist
from monai_ext.datalist.picai import picai, read_splits
from monai_ext.datalist.prostate158 import prostate158
from monai_ext.datalist.prostatex import prostatex
from monai_ext.datalist.writer import assign_folds
from monai_ext.errors import ConfigError, DataError


def _image(path, value=0):
    """A small image with a value in one voxel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros((4, 6, 5), np.int16)
    array[1, 2, 3] = value
    if path.suffix == ".mha":
        itk.imwrite(itk.image_from_array(array.T.copy()), str(path))
    else:
        nib.save(nib.Nifti1Image(array, np.diag([-1.0, -1, 1, 1])), path)


def _table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def picai_root(tmp_path):
    """Six patients, the first with two studies; 3 positive cases, of which one has no expert mask."""
    root = tmp_path / "picai"
    labels = root / "picai_labels"
    rows = []
    for number in range(7):
        patient, study = f"{10000 + max(number - 1, 0)}", f"{1000000 + number}"
        case = f"{patient}_{study}"
        positive = number in (0, 3, 5)
        rows.append(
            {"patient_id": patient, "study_id": study, "center": "RUMC", "case_ISUP": "3" if positive else "0"}
            | {"case_csPCa": "YES" if positive else "NO"}
        )
        for key in ("t2w", "adc", "hbv"):
            _image(root / "images" / patient / f"{case}_{key}.mha")
        if number != 5:
            _image(labels / "csPCa_lesion_delineations/human_expert/resampled" / f"{case}.nii.gz", 3 * positive)
        _image(labels / "csPCa_lesion_delineations/AI/Bosma22a" / f"{case}.nii.gz", 2 * positive)
        _image(labels / "anatomical_delineations/whole_gland/AI/Bosma22b" / f"{case}.nii.gz", 1)
        _image(labels / "anatomical_delineations/zonal_pz_tz/AI/HeviAI23" / f"{case}.nii.gz", 2)
    _table(labels / "clinical_information" / "marksheet.csv", rows)
    return root


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


def _official(picai_root):
    cases = [f"{10000 + max(n - 1, 0)}_{1000000 + n}" for n in range(7)]
    return {0: cases[:2], 1: cases[2:4], 2: cases[4:]}


@pytest.mark.parametrize("form", ["directory", "json", "csv"])
def test_picai_official_splits_in_each_form(picai_root, tmp_path, form):
    official = _official(picai_root)
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
        _table(path, [{"case": case, "fold": fold} for fold, cases in official.items() for case in cases])
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
    path.write_text(json.dumps([{"val": cases} for cases in list(_official(picai_root).values())[:2]]))
    report = picai(str(picai_root), str(tmp_path / "x.json"), splits=str(path))
    assert "skipped: 3" in report
    path.write_text("{}")
    with pytest.raises(DataError, match="splits"):
        read_splits(path)


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


def test_prostatex(tmp_path):
    root = tmp_path / "px"
    for number in range(3):
        patient = f"ProstateX-{number:04d}"
        for key in ("t2w", "adc", "hbv"):
            _image(root / patient / f"{patient}_{key}.mha")
        if number < 2:
            _image(root / patient / "masks" / f"{patient}_lesion_expert.nii.gz", 2 * (number == 0))
        _image(root / "all_masks" / f"{patient}_lesion_ai.nii.gz", 1)
    out = tmp_path / "px.json"
    report = prostatex(str(root), str(out), num_folds=2)
    content = json.loads(out.read_text())
    assert [item["id"] for item in content["training"]] == ["ProstateX-0000", "ProstateX-0001"]
    assert [item["id"] for item in content["unlabelled"]] == ["ProstateX-0002"]
    assert report.splitlines()[1].split() == ["training", "2", "2", "1"]
    prostatex(str(root), str(out), masks=str(root / "all_masks"), labels="ai")
    assert json.loads(out.read_text())["training"][2]["label"] == "all_masks/ProstateX-0002_lesion_ai.nii.gz"


@pytest.mark.parametrize("dicom", [False, True])
def test_prostatex_real(tmp_path, real_data, dicom):
    root, out = real_data("prostatex_bpmri"), tmp_path / "px.json"
    report = prostatex(str(root), str(out), dicom=dicom)
    assert report.splitlines()[1].split() == ["training", "2", "2", "1"]
    items = load_datalist(out, root, required_keys=["t2w", "adc", "hbv", "label", "gland", "zones"])
    assert len(items) == 2
    assert Path(items[0]["adc"]).is_dir() == dicom


def _prostate158(root, name, cases, tumour):
    rows = []
    for case in cases:
        folder = f"{'test' if name == 'test' else 'train'}/{case}"
        row = {"ID": case}
        row |= {column: f"{folder}/{column}.nii.gz" for column in ("t2", "adc", "dwi", "t2_anatomy_reader1")}
        row["adc_tumor_reader1"] = f"{folder}/adc_tumor_reader1.nii.gz" if case in tumour else f"{folder}/empty.nii.gz"
        for column, path in row.items():
            if column != "ID":
                _image(root / path, 3 if "tumor" in path else 1)
        rows.append(row)
    _table(root / f"{name}.csv", rows)


def test_prostate158(tmp_path):
    root, out = tmp_path / "p158", tmp_path / "p158.json"
    _prostate158(root / "prostate158_train", "train", ["020", "021"], {"020"})
    _prostate158(root / "prostate158_train", "valid", ["024"], set())
    _prostate158(root / "prostate158_test", "test", ["001"], {"001"})
    report = prostate158(str(root), str(out))
    content = json.loads(out.read_text())
    assert [(item["id"], item["fold"]) for item in content["training"]] == [("020", 1), ("021", 1), ("024", 0)]
    assert [item["id"] for item in content["testing"]] == ["001"]
    assert content["testing"][0]["hbv"] == "prostate158_test/test/001/dwi.nii.gz"
    assert report.splitlines()[1].split() == ["training", "3", "3", "1"]
    assert check_datalist(out, root) == []
    with pytest.raises(ConfigError, match="adc_tumor_reader1"):
        prostate158(str(root), str(out), labels="tumor")


def test_folds_are_stratified_even_and_independent_of_order():
    patients = {f"p{n}": n % 4 == 0 for n in range(203)}
    folds = assign_folds(patients)
    assert folds == assign_folds(dict(reversed(patients.items())))
    sizes = np.bincount(list(folds.values()))
    positives = np.bincount([folds[p] for p, positive in patients.items() if positive])
    assert np.ptp(sizes) <= 1
    assert np.ptp(positives) <= 1


def _command(*arguments):
    command = [sys.executable, "-m", "monai_ext.datalist", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_command_line(picai_root, tmp_path):
    out = tmp_path / "x.json"
    done = _command("picai", "--root", picai_root, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "training" in done.stdout
    out.unlink()

    misspelt = _command("picai", "--root", picai_root, "--out", out, "--split", "x")
    assert (misspelt.returncode, out.exists()) == (2, False)
    assert "--splits" in misspelt.stderr

    (picai_root / "images/10001/10001_1000002_adc.mha").unlink()
    missing = _command("picai", "--root", picai_root, "--out", out)
    assert (missing.returncode, out.exists()) == (3, False)
    assert "10001_1000002_adc.mha" in missing.stderr
    assert "Traceback" not in missing.stderr
