"""BraTS and HECKTOR on small trees in the layouts of their years."""

import json

import nibabel as nib
import numpy as np
import pytest

from monai_ext.data import load_datalist
from monai_ext.datalist.brats import brats
from monai_ext.datalist.hecktor import hecktor, read_boxes
from monai_ext.errors import ConfigError, DataError


def image(path, value=0, shape=(4, 6, 5)):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros(shape, np.int16)
    array[1, 2, 3] = value
    nib.save(nib.Nifti1Image(array, np.diag([-1.0, -1, 1, 1])), path)


def converted(convert, root, **options):
    out = root.parent / f"{root.name}.json"
    report = convert(str(root), str(out), **options)
    return json.loads(out.read_text()), report


OLD, NEW = ("t1", "t1ce", "t2", "flair", "seg"), ("t1n", "t1c", "t2w", "t2f", "seg")
BRATS = {  # case folders, names and ending of the files
    "2018": (
        ("HGG/Brats18_TCIA01_1_1", "HGG/Brats18_TCIA01_1_2", "HGG/Brats18_CBICA_A_1", "LGG/Brats18_2_1_1"),
        OLD,
        "nii.gz",
    ),
    "2020": (("BraTS20_Training_001", "BraTS20_Training_002"), OLD, "nii"),
    "2021": (("BraTS2021_00000", "BraTS2021_00002"), OLD, "nii.gz"),
    "2023": (("BraTS-GLI-00005-000", "BraTS-GLI-00005-001", "BraTS-GLI-00006-000"), NEW, "nii.gz"),
}


def brats_tree(root, year):
    folders, names, end = BRATS[year]
    for folder in folders:
        case = folder.split("/")[-1]
        for name in names:
            image(root / "data" / folder / f"{case}{'-' if names is NEW else '_'}{name}.{end}", 2 * (name == "seg"))
    return root


@pytest.mark.parametrize("year", BRATS)
def test_brats(tmp_path, year):
    root = brats_tree(tmp_path / year, year)
    content, report = converted(brats, root, num_folds=2)
    folders, names, end = BRATS[year]
    assert sorted(item["id"] for item in content["training"]) == sorted(folder.split("/")[-1] for folder in folders)
    mark = "-" if names is NEW else "_"
    for item in content["training"]:
        for key, name in zip(("t1", "t1ce", "t2", "flair", "label"), names):
            assert item[key].endswith(f"/{item['id']}{mark}{name}.{end}")
    assert f"{len(folders):>8}" in report
    keys = ["t1", "t1ce", "t2", "flair", "label"]
    assert len(load_datalist(tmp_path / f"{year}.json", root, required_keys=keys)) == len(folders)


def test_brats_time_points_of_a_patient_stay_together(tmp_path):
    for year in ("2018", "2023"):
        content, _ = converted(brats, brats_tree(tmp_path / year, year), num_folds=2)
        folds = {(item["patient"], item["fold"]) for item in content["training"]}
        assert len(folds) == len({patient for patient, _ in folds}) == len(content["training"]) - 1
    assert {patient for patient, _ in folds} == {"BraTS-GLI-00005", "BraTS-GLI-00006"}


def test_brats_by_grade_and_without_masks(tmp_path):
    root = brats_tree(tmp_path / "b", "2018")
    (root / "data/HGG/Brats18_CBICA_A_1/Brats18_CBICA_A_1_seg.nii.gz").unlink()
    content, _ = converted(brats, root, grade="HGG")
    assert {item["grade"] for item in content["training"]} == {"HGG"}
    assert [item["id"] for item in content["unlabelled"]] == ["Brats18_CBICA_A_1"]
    assert "label" not in content["unlabelled"][0]
    content, _ = converted(brats, root, grade="LGG")
    assert [item["id"] for item in content["training"]] == ["Brats18_2_1_1"]
    with pytest.raises(ConfigError, match="hgg"):
        converted(brats, root, grade="hgg")


def test_brats_names_every_missing_image(tmp_path):
    root = brats_tree(tmp_path / "b", "2021")
    for case, name in (("BraTS2021_00000", "t1ce"), ("BraTS2021_00002", "flair")):
        (root / "data" / case / f"{case}_{name}.nii.gz").unlink()
    with pytest.raises(DataError, match=r"(?s)00000_t1ce.*00002_flair"):
        converted(brats, root)


HECKTOR = {
    "2020": [
        ("CHGJ007/CHGJ007_ct", "CHGJ007/CHGJ007_pt", "CHGJ007/CHGJ007_ct_gtvt"),
        ("CHUM010/CHUM010_ct", "CHUM010/CHUM010_pt", "CHUM010/CHUM010_ct_gtvt"),
    ],
    "2021": [("CHGJ007_ct", "CHGJ007_pt", "CHGJ007_gtvt"), ("CHUP010_ct", "CHUP010_pt", "CHUP010_gtvt")],
    "2022": [
        ("imagesTr/CHUM-001__CT", "imagesTr/CHUM-001__PT", "labelsTr/CHUM-001"),
        ("imagesTr/MDA-002__CT", "imagesTr/MDA-002__PT", "labelsTr/MDA_002"),
    ],
    "2025": [
        ("Task 1/CHUM-001/CHUM-001__CT", "Task 1/CHUM-001/CHUM-001__PT", "Task 1/CHUM-001/CHUM-001"),
        ("Task 1/USZ-003/USZ-003__CT", "Task 1/USZ-003/USZ-003__PT", "Task 1/USZ-003/USZ-003"),
    ],
}


def hecktor_tree(root, year):
    for ct, pet, mask in HECKTOR[year]:
        image(root / f"{ct}.nii.gz")
        image(root / f"{pet}.nii.gz", shape=(3, 4, 5))
        image(root / f"{mask}.nii.gz", 1)
    return root


@pytest.mark.parametrize("year", HECKTOR)
def test_hecktor(tmp_path, year):
    root = hecktor_tree(tmp_path / year, year)
    content, _ = converted(hecktor, root, num_folds=2)
    assert [(i["ct"], i["pet"], i["label"]) for i in content["training"]] == [
        tuple(f"{name}.nii.gz" for name in names) for names in HECKTOR[year]
    ]
    assert {item["center"] for item in content["training"]} <= {"CHGJ", "CHUM", "CHUP", "MDA", "USZ"}
    assert len({item["fold"] for item in content["training"]}) == 2
    assert len(load_datalist(tmp_path / f"{year}.json", root, required_keys=["ct", "pet", "label"])) == 2


def test_hecktor_boxes_are_turned_to_the_axes_of_the_affine(tmp_path):
    root = hecktor_tree(tmp_path / "h", "2020")
    table = "PatientID,x1,x2,y1,y2,z1,z2\nCHGJ007,-70,74,-220,-76,-500,-356\n"
    (root / "hecktor_bbox_training.csv").write_text(table)
    content, _ = converted(hecktor, root)
    first, second = content["training"]
    assert first["box"] == [-74, 76, -500, 70, 220, -356]
    assert all(low < high for low, high in zip(first["box"][:3], first["box"][3:]))
    assert "box" not in second
    (tmp_path / "other.csv").write_text("PatientID,x1\nCHGJ007,left\n")
    with pytest.raises(DataError, match="x1, x2"):
        read_boxes(tmp_path / "other.csv")


def test_hecktor_without_pet_or_mask(tmp_path):
    root = hecktor_tree(tmp_path / "h", "2022")
    (root / "labelsTr/CHUM-001.nii.gz").unlink()
    content, _ = converted(hecktor, root)
    assert [item["id"] for item in content["unlabelled"]] == ["CHUM-001"]
    (root / "imagesTr/MDA-002__PT.nii.gz").unlink()
    with pytest.raises(DataError, match="MDA-002__PT"):
        converted(hecktor, root)
    content, report = converted(hecktor, root, skip_incomplete=True)
    assert "training" not in content or not content["training"]
    assert "MDA-002" in report


@pytest.mark.parametrize("convert", [brats, hecktor])
def test_an_empty_tree_is_an_error(tmp_path, convert):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no case"):
        converted(convert, tmp_path / "empty")
