"""Prostate158 from its tables."""

import json

import pytest

from monai_ext.data import check_datalist
from monai_ext.datalist.prostate158 import prostate158
from monai_ext.errors import ConfigError


@pytest.fixture
def prostate158_tree(image, table):
    def write(root, name, cases, tumour):
        rows = []
        for case in cases:
            folder = f"{'test' if name == 'test' else 'train'}/{case}"
            row = {"ID": case}
            row |= {column: f"{folder}/{column}.nii.gz" for column in ("t2", "adc", "dwi", "t2_anatomy_reader1")}
            row["adc_tumor_reader1"] = f"{folder}/{'adc_tumor_reader1' if case in tumour else 'empty'}.nii.gz"
            for column, path in row.items():
                if column != "ID":
                    image(root / path, [0, 0, 0, 3 if "tumor" in path else 1])
            rows.append(row)
        table(root / f"{name}.csv", rows)

    return write


def test_prostate158(tmp_path, prostate158_tree):
    root, out = tmp_path / "p158", tmp_path / "p158.json"
    prostate158_tree(root / "prostate158_train", "train", ["020", "021"], {"020"})
    prostate158_tree(root / "prostate158_train", "valid", ["024"], set())
    prostate158_tree(root / "prostate158_test", "test", ["001"], {"001"})
    report = prostate158(str(root), str(out))
    content = json.loads(out.read_text())
    assert [(item["id"], item["fold"]) for item in content["training"]] == [("020", 1), ("021", 1), ("024", 0)]
    assert [item["id"] for item in content["testing"]] == ["001"]
    assert content["testing"][0]["hbv"] == "prostate158_test/test/001/dwi.nii.gz"
    assert report.splitlines()[1].split() == ["training", "3", "3", "1"]
    assert check_datalist(out, root) == []
    with pytest.raises(ConfigError, match="adc_tumor_reader1"):
        prostate158(str(root), str(out), labels="tumor")
