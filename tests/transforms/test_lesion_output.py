"""What inference writes of lesions, beside softmax and threshold worked in NumPy."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import CopyItemsd

from monai_ext.transforms import LesionOutput, LesionProbability, RememberGridd, SaveDicomSegd

AFFINE = torch.tensor([[-0.5, 0, 0, 9], [0, 0.6, 0.1, -4], [0, 0, 3.0, 2], [0, 0, 0, 1]], dtype=torch.float64)
SHAPE = (6, 5, 4)


def item(name="case-1", cut=None):
    """An item with two class scores; ``cut`` is the part of the scan that the network saw."""
    image = MetaTensor(torch.zeros(1, *SHAPE), affine=AFFINE)
    found = RememberGridd("image")({"id": name, "image": image})
    scores = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    if cut is not None:
        affine = AFFINE.clone()
        affine[:3, 3] += AFFINE[:3, :3] @ torch.tensor([part.start or 0 for part in cut], dtype=torch.float64)
        found["image"] = MetaTensor(image[(slice(None), *cut)].as_tensor(), affine=affine)
        scores = scores[(slice(None), *cut)]
    return {**found, "pred": scores}


def probability(scores):
    scores = scores.double().numpy()
    return np.exp(scores[1]) / np.exp(scores).sum(0)


def test_probability_is_that_of_the_second_class_and_the_mask_where_it_is_above_a_half():
    data = item()
    expected = probability(data["pred"])
    found = LesionProbability()(data)
    np.testing.assert_allclose(found["lesion_probability"].numpy()[0], expected, atol=1e-6)
    np.testing.assert_array_equal(found["pred"].numpy()[0], expected > 0.5)
    assert found["pred"].shape == found["lesion_probability"].shape == (1, *SHAPE)


def test_without_the_mask_both_probabilities_stay():
    data = item()
    found = LesionProbability(mask=False)(data)
    assert found["pred"].shape == (2, *SHAPE)
    np.testing.assert_allclose(found["pred"].numpy().sum(0), 1, atol=1e-6)
    np.testing.assert_array_equal(found["pred"][1:], found["lesion_probability"])


def test_what_the_network_did_not_see_is_no_lesion():
    cut = (slice(1, 5), slice(0, 4), slice(1, 4))
    data = item(cut=cut)
    expected = np.zeros(SHAPE)
    expected[cut] = probability(data["pred"])
    found = LesionProbability()(data)
    np.testing.assert_allclose(found["lesion_probability"].numpy()[0], expected, atol=1e-5)
    np.testing.assert_array_equal(found["pred"].numpy()[0], expected > 0.5)
    np.testing.assert_allclose(found["pred"].affine, AFFINE, atol=1e-6)


def test_probability_and_mask_are_written_on_the_grid_of_the_scan(tmp_path):
    data = item()
    expected = probability(data["pred"])
    LesionOutput(tmp_path)(data)
    assert sorted(path.name for path in (tmp_path / "case-1").iterdir()) == [
        *("case-1_probability.nii.gz", "case-1_seg.nii.gz")
    ]
    written, mask = (nib.load(tmp_path / f"case-1/case-1_{name}.nii.gz") for name in ("probability", "seg"))
    np.testing.assert_allclose(written.get_fdata(), expected, atol=1e-6)
    np.testing.assert_array_equal(mask.get_fdata(), expected > 0.5)
    assert (written.get_data_dtype(), mask.get_data_dtype()) == (np.float32, np.uint8)
    for image in (written, mask):
        np.testing.assert_allclose(image.affine, AFFINE, atol=1e-5)


def test_further_maps_are_written_under_their_own_names(tmp_path):
    maps = LesionProbability()
    maps.transforms = (*maps.transforms, CopyItemsd("lesion_probability", names="anomaly"))
    LesionOutput(tmp_path, maps, ["anomaly"])(item())
    names = {path.name for path in (tmp_path / "case-1").iterdir()}
    assert names == {f"case-1_{name}.nii.gz" for name in ("probability", "seg", "anomaly")}


def test_one_transform_may_restore(tmp_path):
    def restore(data):
        found = LesionProbability()(data)
        return {**found, "pred": torch.zeros_like(found["pred"])}

    LesionOutput(tmp_path, restore)(item())
    assert not nib.load(tmp_path / "case-1/case-1_seg.nii.gz").get_fdata().any()


@pytest.mark.parametrize("asked", [False, True])
def test_a_dicom_seg_is_made_last_and_only_if_asked_for(tmp_path, asked):
    pytest.importorskip("highdicom")
    bundle = Path(__file__).parents[2] / "bundles/prostate_mae"
    steps = LesionOutput(tmp_path, dicom_seg=asked, bundle_root=bundle).transforms
    assert isinstance(steps[-1], SaveDicomSegd) == asked
    assert sum(isinstance(step, SaveDicomSegd) for step in steps) == asked
