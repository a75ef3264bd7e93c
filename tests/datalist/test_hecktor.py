"""HECKTOR on small trees in the layouts of its years."""

import pytest

from monai_ext.data import load_datalist
from monai_ext.datalist.hecktor import hecktor, read_boxes
from monai_ext.errors import DataError

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


@pytest.fixture
def hecktor_tree(image):
    def write(root, year):
        for ct, pet, mask in HECKTOR[year]:
            image(root / f"{ct}.nii.gz")
            image(root / f"{pet}.nii.gz", shape=(3, 4, 5))
            image(root / f"{mask}.nii.gz", [0, 0, 0, 1])
        return root

    return write


@pytest.mark.parametrize("year", HECKTOR)
def test_hecktor(tmp_path, year, converted, hecktor_tree):
    root = hecktor_tree(tmp_path / year, year)
    content, _ = converted(hecktor, root, num_folds=2)
    assert [(i["ct"], i["pet"], i["label"]) for i in content["training"]] == [
        tuple(f"{name}.nii.gz" for name in names) for names in HECKTOR[year]
    ]
    assert {item["center"] for item in content["training"]} <= {"CHGJ", "CHUM", "CHUP", "MDA", "USZ"}
    assert len({item["fold"] for item in content["training"]}) == 2
    assert len(load_datalist(root / "datalist.json", root, required_keys=["ct", "pet", "label"])) == 2


def test_hecktor_boxes_are_turned_to_the_axes_of_the_affine(tmp_path, converted, hecktor_tree):
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


def test_hecktor_without_pet_or_mask(tmp_path, converted, hecktor_tree):
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


def test_an_empty_tree_is_an_error(tmp_path, converted):
    with pytest.raises(DataError, match="no case"):
        converted(hecktor, tmp_path)
