"""BraTS on small trees in the layouts of its years."""

import pytest

from monai_ext.data import load_datalist
from monai_ext.datalist.brats import brats
from monai_ext.errors import ConfigError, DataError

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


@pytest.fixture
def brats_tree(image):
    def write(root, year):
        folders, names, end = BRATS[year]
        for folder in folders:
            case = folder.split("/")[-1]
            for name in names:
                file = root / "data" / folder / f"{case}{'-' if names is NEW else '_'}{name}.{end}"
                image(file, [0, 0, 0, 2 * (name == "seg")])
        return root

    return write


@pytest.mark.parametrize("year", BRATS)
def test_brats(tmp_path, year, converted, brats_tree):
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
    assert len(load_datalist(root / "datalist.json", root, required_keys=keys)) == len(folders)


def test_brats_time_points_of_a_patient_stay_together(tmp_path, converted, brats_tree):
    for year in ("2018", "2023"):
        content, _ = converted(brats, brats_tree(tmp_path / year, year), num_folds=2)
        folds = {(item["patient"], item["fold"]) for item in content["training"]}
        assert len(folds) == len({patient for patient, _ in folds}) == len(content["training"]) - 1
    assert {patient for patient, _ in folds} == {"BraTS-GLI-00005", "BraTS-GLI-00006"}


def test_brats_by_grade_and_without_masks(tmp_path, converted, brats_tree):
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


def test_brats_names_every_missing_image(tmp_path, converted, brats_tree):
    root = brats_tree(tmp_path / "b", "2021")
    for case, name in (("BraTS2021_00000", "t1ce"), ("BraTS2021_00002", "flair")):
        (root / "data" / case / f"{case}_{name}.nii.gz").unlink()
    with pytest.raises(DataError, match=r"(?s)00000_t1ce.*00002_flair"):
        converted(brats, root)


def test_an_empty_tree_is_an_error(tmp_path, converted):
    with pytest.raises(DataError, match="no case"):
        converted(brats, tmp_path)
