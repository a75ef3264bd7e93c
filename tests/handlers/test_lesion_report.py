import csv
import json
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_ext.handlers import LesionReport

AFFINE = np.array([[-4.0, 0, 0, 60.0], [0, -4.0, 0, 50.0], [0, 0, 3.0, -20.0], [0, 0, 0, 1]])
STRAIGHT = np.array([[-2.0, 0, 0, 57.0], [0, 2.0, 0, -11.0], [0, 0, 2.5, -18.0], [0, 0, 0, 1]])


@pytest.fixture
def case(tmp_path):
    """A PET with two hot blocks, found as two lesions."""
    suv, mask = np.full((16, 14, 12), 0.5, np.float32), np.zeros((16, 14, 12), np.float32)
    mask[3:7, 3:6, 4:8] = mask[11:13, 9:11, 2:4] = 1
    suv[mask > 0] = 60  # above what the network sees
    suv[4, 4, 5] = 80
    nibabel.save(nibabel.Nifti1Image(suv, AFFINE), tmp_path / "c_pet.nii.gz")
    affine = torch.from_numpy(AFFINE)
    return {
        "id": "c",
        "image": MetaTensor(torch.zeros(2, 4, 4, 4), meta={"filename_or_obj": str(tmp_path / "c_pet.nii.gz")}),
        "pred": MetaTensor(torch.from_numpy(mask)[None], affine=affine),
        "lesion_probability": MetaTensor(torch.from_numpy(mask)[None], affine=affine),
        "ct_affine": torch.from_numpy(STRAIGHT),
        "ct_shape": torch.tensor([40, 40, 12]),
    }


def run(folder, *cases):
    handler = LesionReport(str(folder))
    engine = SimpleNamespace(state=SimpleNamespace(output=[{}] * len(cases), batch=list(cases)))
    handler(engine)
    handler._table(engine)


def test_report_of_one_case(case, tmp_path):
    run(tmp_path / "out", case)
    report = json.loads((tmp_path / "out/c/c_lesions.json").read_text())
    ml = 4 * 4 * 3 / 1000
    assert report["lesion_count"] == 2
    assert report["suv_max"] == 80
    assert report["volume_ml"] == pytest.approx(56 * ml)
    assert report["tlg_ml"] == pytest.approx((55 * 60 + 80) * ml)
    assert report["lesions"][0]["peak_voxel"] == [4, 4, 5]
    assert [(one["number"], one["slice"]) for one in report["lesions"]] == [(1, 6), (2, 3)]
    assert 80 > report["suv_peak"] == report["lesions"][0]["suv_peak"] > report["lesions"][1]["suv_peak"] > 0.5
    assert report["lesions"][0]["peak_mm"] == pytest.approx((AFFINE @ [4, 4, 5, 1])[:3].tolist())
    with open(tmp_path / "out/lesions.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["case"], row["lesion_count"], float(row["suv_max"])) == ("c", "2", 80)
    assert float(row["suv_peak"]) == report["suv_peak"]


def test_mask_on_the_grid_of_the_ct(case, tmp_path):
    run(tmp_path, case)
    mask = nibabel.load(tmp_path / "c/c_seg_ct.nii.gz")
    np.testing.assert_allclose(mask.affine, STRAIGHT, atol=1e-5)
    assert mask.shape == (40, 40, 12)
    assert mask.get_data_dtype() == np.uint8
    inside = np.argwhere(np.asarray(mask.dataobj))
    voxels = nibabel.affines.apply_affine(np.linalg.inv(AFFINE) @ STRAIGHT, inside)
    nearest = np.rint(voxels).astype(int)
    truth = case["pred"][0].numpy() > 0
    assert truth[tuple(nearest.T)].mean() > 0.95
    assert len(inside) * 10 == pytest.approx(truth.sum() * 48, rel=0.2)


def test_without_ct_or_lesion(case, tmp_path):
    del case["ct_affine"]
    case["pred"] = MetaTensor(torch.zeros(1, 16, 14, 12), affine=case["pred"].affine)
    run(tmp_path, case)
    assert not (tmp_path / "c/c_seg_ct.nii.gz").exists()
    report = json.loads((tmp_path / "c/c_lesions.json").read_text())
    assert (report["lesion_count"], report["suv_max"], report["lesions"]) == (0, None, [])
