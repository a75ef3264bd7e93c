"""autoPET in both of its layouts, and on real PET/CT where it is at hand."""

import json

import pytest

from monai_ext.data import load_datalist
from monai_ext.datalist.autopet import autopet
from monai_ext.errors import ConfigError, DataError

AUTOPET = ["fdg_00aa_01-01-2005-A", "fdg_00aa_02-02-2006-B", "psma_11bb_2017-03-04", "fdg_22cc_03-03-2004-C"]


@pytest.fixture
def nnunet(tmp_path, image):
    for case in AUTOPET:
        image(tmp_path / f"imagesTr/{case}_0000.nii.gz")
        image(tmp_path / f"imagesTr/{case}_0001.nii.gz")
        image(tmp_path / f"labelsTr/{case}.nii.gz", [case.endswith("C")])
    return tmp_path


def test_autopet_in_the_layout_of_nnunet(nnunet, converted, folds):
    splits = [{"train": AUTOPET[2:], "val": AUTOPET[:2]}, {"train": AUTOPET[:2], "val": AUTOPET[2:]}]
    (nnunet / "splits_final.json").write_text(json.dumps(splits))
    content, report = converted(autopet, nnunet)
    assert folds(content) == {AUTOPET[0]: 0, AUTOPET[1]: 0, AUTOPET[2]: 1, AUTOPET[3]: 1}
    first = next(item for item in content["training"] if item["id"] == AUTOPET[0])
    assert list(first)[-3:] == ["pet", "ct", "label"]
    assert first["pet"].endswith("_0001.nii.gz")
    assert first["ct"].endswith("_0000.nii.gz")
    assert (first["patient"], first["tracer"]) == ("fdg_00aa", "fdg")
    assert report.split("\n")[1].split() == ["training", "4", "3", "1"]
    (nnunet / f"imagesTr/{AUTOPET[3]}_0000.nii.gz").unlink()
    (nnunet / f"imagesTr/{AUTOPET[2]}_0001.nii.gz").unlink()
    with pytest.raises(DataError, match=r"(?s)22cc.*_0000.*11bb.*_0001"):
        converted(autopet, nnunet)


def test_autopet_whose_splits_part_a_patient_or_are_damaged(nnunet, converted):
    splits = [{"train": [], "val": AUTOPET[:1]}, {"train": [], "val": AUTOPET[1:]}]
    (nnunet / "splits_final.json").write_text(json.dumps(splits))
    with pytest.raises(DataError, match="patient fdg_00aa is in several splits"):
        converted(autopet, nnunet)
    (nnunet / "splits_final.json").write_text('{"val": 1}')
    with pytest.raises(DataError, match="splits cannot be read"):
        converted(autopet, nnunet)


def test_autopet_in_the_layout_of_tcia(tmp_path, image, converted, folds):
    studies = ["PETCT_aa/03-23-2003-NA-PET CT 1", "PETCT_aa/04-01-2004-NA-PET CT 2", "PETCT_bb/x", "PETCT_cc/y"]
    for number, study in enumerate(studies):
        for name in ("SUV", "CTres", "SEG"):
            image(tmp_path / "FDG" / study / f"{name}.nii.gz", [number == 0] if name == "SEG" else [])
    (tmp_path / "FDG/PETCT_cc/y/SEG.nii.gz").unlink()
    (tmp_path / "FDG/PETCT_bb/x/CTres.nii.gz").rename(tmp_path / "FDG/PETCT_bb/x/CT.nii.gz")
    content, _ = converted(autopet, tmp_path, num_folds=2)
    assert list(folds(content)) == ["PETCT_aa_03-23-2003-NA-PET_CT_1", "PETCT_aa_04-01-2004-NA-PET_CT_2", "PETCT_bb_x"]
    by_patient = {(item["patient"], item["fold"]) for item in content["training"]}
    assert len(by_patient) == 2
    assert [item["id"] for item in content["unlabelled"]] == ["PETCT_cc_y"]
    assert content["training"][2]["ct"].endswith("CT.nii.gz")
    content, _ = converted(autopet, tmp_path, num_testing=1)
    assert len({item["patient"] for item in content["testing"]}) == 1
    assert not {item["patient"] for item in content["testing"]} & {item["patient"] for item in content["training"]}
    assert all("fold" not in item for item in content["testing"])
    with pytest.raises(ConfigError, match="num_testing"):
        converted(autopet, tmp_path, num_testing=2)


def test_autopet_on_the_soft_tissue_sarcomas(tmp_path, real_data):
    root = real_data("sts_petct")
    with pytest.raises(DataError, match="wholebody_STS_001"):  # it has no CT
        autopet(str(root), str(tmp_path / "sts.json"))
    report = autopet(str(root), str(tmp_path / "sts.json"), num_testing=8, skip_incomplete=True)
    assert "wholebody_STS_001" in report
    items = load_datalist(tmp_path / "sts.json", root, required_keys=["pet", "ct", "label"])
    assert len(items) == 30
    assert {item["fold"] for item in items} == {0, 1, 2, 3, 4}
    assert len(load_datalist(tmp_path / "sts.json", root, "testing")) == 8


def test_an_empty_tree_is_an_error(tmp_path, converted):
    with pytest.raises(DataError, match="no case"):
        converted(autopet, tmp_path)
