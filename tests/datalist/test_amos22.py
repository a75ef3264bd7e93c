"""AMOS22: its official parts, and CT and MR told apart by the number of a case."""

import pytest

from monai_ext.datalist.amos22 import amos22
from monai_ext.errors import ConfigError, DataError


def test_amos22(tmp_path, image, converted, folds):
    for part, numbers in (("Tr", (1, 4, 507)), ("Va", (8, 580)), ("Ts", (2, 596))):
        for number in numbers:
            image(tmp_path / f"amos22/images{part}/amos_{number:04d}.nii.gz")
            if part != "Ts":
                image(tmp_path / f"amos22/labels{part}/amos_{number:04d}.nii.gz", [15])
    content, _ = converted(amos22, tmp_path)
    assert folds(content) == {"amos_0001": 1, "amos_0004": 1, "amos_0507": 1, "amos_0008": 0, "amos_0580": 0}
    assert folds(content, "testing") == {"amos_0002": None, "amos_0596": None}
    for kind, expected in (("ct", {"amos_0001", "amos_0004", "amos_0008"}), ("mr", {"amos_0507", "amos_0580"})):
        content, _ = converted(amos22, tmp_path, modality=kind)
        assert set(folds(content)) == expected
        assert {item["modality"] for item in content["training"]} == {kind}
    (tmp_path / "amos22/labelsVa/amos_0008.nii.gz").unlink()
    with pytest.raises(DataError, match="amos_0008"):
        converted(amos22, tmp_path)
    with pytest.raises(ConfigError, match="CT"):
        converted(amos22, tmp_path, modality="CT")


def test_an_empty_tree_is_an_error(tmp_path, converted):
    with pytest.raises(DataError, match="no case"):
        converted(amos22, tmp_path)
