"""PROSTATEx under PI-CAI's file names, and the real one where it is at hand."""

import json
from pathlib import Path

import pytest

from monai_ext.data import load_datalist
from monai_ext.datalist.prostatex import prostatex


def test_prostatex(tmp_path, image):
    root = tmp_path / "px"
    for number in range(3):
        patient = f"ProstateX-{number:04d}"
        for key in ("t2w", "adc", "hbv"):
            image(root / patient / f"{patient}_{key}.mha")
        if number < 2:
            image(root / patient / "masks" / f"{patient}_lesion_expert.nii.gz", [0, 0, 0, 2 * (number == 0)])
        image(root / "all_masks" / f"{patient}_lesion_ai.nii.gz", [0, 0, 0, 1])
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
