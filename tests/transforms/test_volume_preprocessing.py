import nibabel
import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from monai_ext.errors import DataError
from monai_ext.transforms import VolumePreprocessing

AFFINE = np.array([[-3.0, 0, 0, 60], [0, 2.0, 0, -40], [0, 0, 2.5, 10], [0, 0, 0, 1]])  # x runs to the left
SHAPE = (24, 22, 18)


def smooth(seed=0):
    axes = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")).astype(float)
    rng = np.random.default_rng(seed)
    waves = sum(np.sin(0.25 * np.tensordot(rng.uniform(-1, 1, 3), axes, 1)) for _ in range(3))
    return (100 * waves).astype(np.float32)


@pytest.fixture
def scan(tmp_path, save):
    label = np.zeros(SHAPE, np.uint8)
    label[4:12, 5:15, 3:9] = 2
    label[15:20, 5:15, 9:14] = 4
    return {
        "image": save(tmp_path / "p1.nii.gz", smooth(), AFFINE),
        "label": save(tmp_path / "p1_seg.nii.gz", label, AFFINE),
        "fold": 3,
    }


def test_voxels_are_those_of_the_scan_at_the_same_places(scan):
    found = VolumePreprocessing(num_classes=5, percentiles=(0, 100))(scan)
    image, label = found["image"], found["label"]
    assert (image.dtype, label.dtype) == (torch.float32, torch.uint8)
    assert image.shape == label.shape
    np.testing.assert_allclose(np.diag(image.affine)[:3], 1.5)  # RAS, 1.5 mm
    voxels = np.stack(np.meshgrid(*(np.arange(n) for n in image.shape[1:]), indexing="ij"), -1).reshape(-1, 3)
    world = nibabel.affines.apply_affine(image.affine.numpy(), voxels)
    places = nibabel.affines.apply_affine(np.linalg.inv(AFFINE), world).T
    due = map_coordinates(smooth(), places, order=1, mode="nearest").reshape(image.shape[1:])
    due = (due - due.mean()) / due.std()
    np.testing.assert_allclose(image[0].numpy(), due, atol=2e-3)
    nearest = map_coordinates(nibabel.load(scan["label"]).get_fdata(), places, order=0, mode="nearest")
    assert (label.numpy().ravel() == nearest).mean() > 0.98  # halves may go either way
    assert set(label.unique().tolist()) == {0, 2, 4}


def test_result_is_z_scored_after_clipping(scan):
    image = VolumePreprocessing(num_classes=5, spacing=None, percentiles=(5, 95))(scan)["image"].numpy()
    raw = smooth()[::-1]  # x to the right
    due = np.clip(raw, *np.percentile(raw, [5, 95]))
    np.testing.assert_allclose(image[0], (due - due.mean()) / due.std(), atol=1e-4)


def test_what_else_is_in_the_result(scan):
    found = VolumePreprocessing(num_classes=5)(scan)
    assert (found["id"], found["fold"]) == ("p1", 3)
    np.testing.assert_allclose(found["original_affine"], AFFINE)
    assert found["original_shape"].tolist() == list(SHAPE)
    assert found["image"].meta["filename_or_obj"] == scan["image"]


def test_without_label(scan):
    assert "label" not in VolumePreprocessing(with_label=False)(scan)  # not even checked: it holds 4
    assert "label" not in VolumePreprocessing(with_label=False).resolve(scan)
    del scan["label"]
    assert "label" not in VolumePreprocessing(num_classes=5)(scan)


def test_label_out_of_range_names_the_values(scan):
    with pytest.raises(DataError, match=r"\[4\.0\].*0, 1, 2, 3\]"):
        VolumePreprocessing(num_classes=4)(scan)


def test_several_modalities_by_name_and_as_one_file(tmp_path, save, scan):
    ct, pet = smooth(), smooth(1)
    save(tmp_path / "case_ct.nii.gz", ct, AFFINE)
    save(tmp_path / "case_pet.nii.gz", pet, AFFINE)
    save(tmp_path / "both.nii.gz", np.stack([ct, pet], -1), AFFINE)
    transform = VolumePreprocessing(("ct", "pet"), num_classes=5)
    one = transform({"ct": str(tmp_path / "case_ct.nii.gz"), "label": scan["label"]})
    other = transform({"image": str(tmp_path / "both.nii.gz")})
    assert one["id"] == "case"
    assert one.keys() == {"id", "image", "label", "original_affine", "original_shape"}
    assert one["image"].shape[0] == 2
    torch.testing.assert_close(one["image"].as_tensor(), other["image"].as_tensor())
    alone = VolumePreprocessing(num_classes=5)({"image": str(tmp_path / "case_pet.nii.gz")})
    torch.testing.assert_close(one["image"].as_tensor()[1:], alone["image"].as_tensor())


def test_fingerprint_follows_the_arguments():
    options = [{}, {"spacing": None}, {"spacing": [1, 1, 1]}, {"num_classes": 3}, {"with_label": False}]
    assert len({VolumePreprocessing(**o).fingerprint for o in options}) == len(options)
    assert VolumePreprocessing(spacing=[2, 2, 2]).fingerprint == VolumePreprocessing(spacing=(2.0, 2, 2)).fingerprint


@pytest.mark.parametrize("spacing", [(1.5, 1.5), (0, 1, 1)])
def test_bad_spacing(spacing):
    with pytest.raises(ValueError, match="spacing"):
        VolumePreprocessing(spacing=spacing)


def test_fixed_scales_are_those_of_the_set(scan):
    """nnU-Net's CT: clip, less the mean, over the standard deviation, whatever else the scan shows."""
    scaled = VolumePreprocessing(num_classes=5, spacing=None, scales={"image": (-50, 80, 10, 40)})(scan)["image"]
    np.testing.assert_allclose(scaled[0].numpy(), (np.clip(smooth()[::-1], -50, 80) - 10) / 40, atol=1e-5)


def test_scales_are_checked_and_change_the_cache(scan):
    plain, fixed = VolumePreprocessing(), VolumePreprocessing(scales={"image": (0, 1, 0, 1)})
    assert plain.fingerprint != fixed.fingerprint
    with pytest.raises(ValueError, match="'ct'"):
        VolumePreprocessing(scales={"ct": (0, 1, 0, 1)})
    with pytest.raises(ValueError, match="low < high"):
        VolumePreprocessing(num_classes=5, scales={"image": (5, 1, 0, 1)})(scan)
