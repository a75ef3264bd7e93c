"""Masks, maps and names of segments as they are written."""

import shutil

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor

from monai_ext.transforms import MaskOutput, SaveDicomSegd
from monai_ext.transforms.lesion_output import LesionOutput, LesionProbability

AFFINE = torch.diag(torch.tensor([10.0, 10, 10, 1], dtype=torch.float64))


def labels(item):
    mask = torch.zeros(1, 8, 6, 5)
    mask[0, 1:4, 2, 2], mask[0, 6, 2, 2], mask[0, 6, 5, 4] = 2, 2, 1
    meta = {"filename_or_obj": f"{item['id']}.nii.gz"}
    return {**item, "pred": MetaTensor(mask, AFFINE, meta), "heat": MetaTensor(mask / 4, AFFINE, meta)}


def written(folder):
    return {path.name: nib.load(path).get_fdata() for path in (folder / "p1").iterdir()}


def test_mask_and_maps_under_their_names(tmp_path):
    MaskOutput(tmp_path, labels, {"heat": "warm"})({"id": "p1"})
    found = written(tmp_path)
    assert set(found) == {"p1_seg.nii.gz", "p1_warm.nii.gz"}
    np.testing.assert_array_equal(found["p1_seg.nii.gz"], 4 * found["p1_warm.nii.gz"])
    assert np.unique(found["p1_seg.nii.gz"]).tolist() == [0, 1, 2]


def test_small_components_go_from_the_mask_and_stay_in_the_maps(tmp_path):
    MaskOutput(tmp_path, labels, {"heat": "warm"}, min_ml=2)({"id": "p1"})
    found = written(tmp_path)
    assert [int((found["p1_seg.nii.gz"] == label).sum()) for label in (1, 2)] == [0, 3]
    assert int((found["p1_warm.nii.gz"] > 0).sum()) == 5


def test_an_evaluation_gets_the_same_mask_and_writes_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for options in ({}, {"min_ml": 2}, {"largest": True}):
        kept = MaskOutput(None, labels, {"heat": "warm"}, dicom_seg=True, **options)({"id": "p1"})["pred"]
        assert list(tmp_path.iterdir()) == []
        expected = MaskOutput(tmp_path / "o", labels, **options)({"id": "p1"})["pred"]
        np.testing.assert_array_equal(kept, expected)
        shutil.rmtree(tmp_path / "o")


def test_of_each_label_the_largest(tmp_path):
    MaskOutput(tmp_path, labels, largest=True)({"id": "p1"})
    found = written(tmp_path)["p1_seg.nii.gz"]
    assert [int((found == label).sum()) for label in (1, 2)] == [1, 3]


def test_segments_are_called_as_the_config_says(tmp_path):
    (tmp_path / "configs").mkdir()
    data = '{"name": "n", "version": "1", "network_data_format": {"outputs": {"pred": {"channel_def": {"1": "x"}}}}}'
    (tmp_path / "configs/metadata.json").write_text(data)
    for segments, named in ((None, {1: "x"}), (["liver", "spleen"], {1: "liver", 2: "spleen"})):
        steps = MaskOutput(tmp_path, labels, dicom_seg=True, bundle_root=tmp_path, segments=segments).transforms
        assert [step.segments for step in steps if isinstance(step, SaveDicomSegd)] == [named]


def test_the_threshold_of_lesions(tmp_path):
    scores = MetaTensor(torch.randn(2, 8, 6, 5, generator=torch.Generator().manual_seed(1)), affine=AFFINE)
    grid = {"original_affine": AFFINE, "original_shape": torch.tensor([8, 6, 5])}
    item = {"id": "p1", "image": MetaTensor(torch.zeros(1, 8, 6, 5), affine=AFFINE), "pred": scores, **grid}
    expected = scores.softmax(0)[1].numpy()
    for threshold in (0.2, 0.5, 0.9):
        LesionOutput(tmp_path, threshold=threshold)(item)
        np.testing.assert_array_equal(written(tmp_path)["p1_seg.nii.gz"], expected > threshold)
    assert LesionProbability(threshold=0.9)(item)["pred"].dtype == torch.uint8
