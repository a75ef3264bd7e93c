import json
import pickle
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, decollate_batch
from scipy.ndimage import map_coordinates

from monai_ext.data import phantom
from monai_ext.errors import DataError
from monai_ext.transforms import RestoreToReferenced, SlicePreprocessing
from monai_ext.transforms.intensity import clip_to_signal
from monai_ext.transforms.slice_preprocessing import slice_grid

AFFINE = np.array([[-1.0, 0, 0, 30.0], [0, -1.0, 0, 40.0], [0, 0, 4.0, -20.0], [0, 0, 0, 1]])
SMALL = {"img_size": (48, 40)}


@pytest.fixture
def brain(save, tmp_path):
    """A head off the middle of the scan, 50 x 60 x 6 voxels; the second modality on a coarser, shifted grid."""
    rng = np.random.default_rng(0)
    head = np.zeros((50, 60, 6), np.float32)
    head[6:40, 12:50] = rng.uniform(100, 900, (34, 38, 6))
    other = np.zeros((30, 34, 6), np.float32)
    other[3:28, 4:30] = rng.uniform(10, 90, (25, 26, 6))
    coarse = AFFINE @ np.diag([2, 2, 1, 1])
    label = np.zeros(head.shape, np.uint8)
    label[10:20, 20:30, 2:4] = 1
    label[12:16, 22:26, 2:4] = 4
    return {
        "id": "case",
        "flair": save(tmp_path / "case_flair.nii.gz", head, AFFINE),
        "t1": save(tmp_path / "case_t1.nii.gz", other, coarse),
        "label": save(tmp_path / "case_seg.nii.gz", label, AFFINE),
    }


def test_result(brain):
    item = SlicePreprocessing(**SMALL)(brain)
    assert item["image"].shape == (1, 48, 40, 24)  # 6 slices of 4 mm are 24 of 1 mm
    assert item["image"].dtype == torch.float32
    assert item["label"].shape == (1, 48, 40, 24)
    assert item["label"].dtype == torch.uint8
    assert int(item["label"].sum()) == 10 * 10 * 8  # the whole tumor, each slice four times
    assert item["original_shape"].tolist() == [50, 60, 6]
    np.testing.assert_allclose(item["original_affine"].numpy(), AFFINE)
    assert torch.linalg.det(item["image"].affine[:3, :3]) == pytest.approx(1)
    assert (torch.diagonal(item["image"].affine[:3, :3]) > 0).all()  # RAS


def test_values_are_those_of_the_formula(brain):
    """Clip at the percentiles of the non-zero voxels, z-score with their moments, the nearest voxel: by NumPy."""
    item = SlicePreprocessing(["flair", "t1"], **SMALL)(brain)
    voxels = np.stack(np.meshgrid(*(np.arange(n) for n in (48, 40, 24)), indexing="ij"), -1).reshape(-1, 3)
    places = nibabel.affines.apply_affine(item["image"].affine.numpy(), voxels)
    for channel, key in zip(item["image"].numpy(), ("flair", "t1")):
        image = nibabel.load(brain[key])
        raw = image.get_fdata()
        inside = raw[raw != 0]
        clipped = np.where(raw != 0, raw.clip(*np.percentile(inside, [1, 99])), 0)
        mean, std = clipped[raw != 0].mean(), clipped[raw != 0].std()
        source = nibabel.affines.apply_affine(np.linalg.inv(image.affine), places)
        expected = map_coordinates(np.pad(clipped, 9), source.T + 9, order=0).reshape(48, 40, 24)
        # Half way between two voxels either may be the nearest.
        decided = (np.abs(source - np.floor(source) - 0.5) > 1e-3).all(1).reshape(48, 40, 24)
        assert decided.mean() > 0.2
        np.testing.assert_allclose(channel[decided], ((expected - mean) / std)[decided], atol=1e-3)
        assert channel.min() == pytest.approx(-mean / std, abs=1e-4)  # air


def test_the_crop_lies_about_the_head_or_the_box(brain):
    item = SlicePreprocessing(**SMALL)(brain)
    shown = torch.nonzero((item["image"][0] > item["image"].min()).any(-1))
    middle = (shown.amin(0) + shown.amax(0)) / 2
    np.testing.assert_allclose(middle.numpy(), [23.5, 19.5], atol=1)
    corners = [-12.0, 0.0, -20.0, 8.0, 30.0, 0.0]  # mm
    item = SlicePreprocessing(**SMALL)({**brain, "box": corners})
    centre = item["image"].affine.numpy()[:3] @ [23.5, 19.5, 0, 1]
    np.testing.assert_allclose(centre[:2], [-2, 15], atol=0.51)  # to the voxel
    assert "box" not in item


def test_equal_spacing_interpolates_nothing(brain):
    item = SlicePreprocessing(**SMALL, spacing=(1, 1, 0), interpolation="bilinear")(brain)
    raw = nibabel.load(brain["flair"]).get_fdata()
    assert item["image"].shape == (1, 48, 40, 6)
    assert len(np.unique(item["image"].numpy())) <= len(np.unique(raw))
    assert int(item["label"].sum()) == 10 * 10 * 2


def test_ct_has_a_window_and_air_outside_of_the_scan(save, tmp_path):
    ct = np.full((30, 30, 4), -1000, np.int16)
    ct[5:25, 5:25] = np.random.default_rng(0).integers(-300, 400, (20, 20, 4))
    path = save(tmp_path / "p__CT.nii.gz", ct, np.diag([1.0, 1, 1, 1]))
    item = SlicePreprocessing(["ct"], img_size=(64, 64))({"ct": path})
    signal = ct.clip(-150, 150).astype(float) + 150
    inside = signal[signal != 0]
    np.testing.assert_allclose(item["image"].min(), (0 - inside.mean()) / inside.std(), rtol=1e-5)
    np.testing.assert_allclose(item["image"].max(), (300 - inside.mean()) / inside.std(), rtol=1e-5)
    assert (item["image"][0, :10] == item["image"].min()).all()  # beyond the scan is air, not the mean of the tissue
    assert item["id"] == "p"


def test_pet_alone_with_labels_on_ct():
    root = Path(phantom("hn_petct"))
    case = json.loads((root / "datalist.json").read_text())["training"][0]
    paths = {key: str(root / case[key]) for key in ("ct", "pet", "label")}
    prepare = SlicePreprocessing(["pet"], img_size=(144, 144), reference="ct")
    item = prepare({"id": "a", **paths})
    assert item["image"].shape[:3] == (1, 144, 144)
    inside, outside = (item["image"][item["label"] == value].mean() for value in (1, 0))
    assert inside > outside + 1  # the tumor takes up the tracer where the label is
    # The name of the CT is enough: HECKTOR's file names.
    assert torch.equal(prepare({"id": "a", "image": paths["ct"], "label": paths["label"]})["image"], item["image"])


def test_a_stack_and_files_of_other_namings_are_the_same_modalities(brain, save, tmp_path):
    values = nibabel.load(brain["flair"]).get_fdata(dtype=np.float32)
    stack = save(tmp_path / "stack.nii.gz", np.stack([values + 1, values, values * 2], -1), AFFINE)
    prepare = SlicePreprocessing(**SMALL, stacked=["t1", "flair", "t1ce"])
    alone = SlicePreprocessing(**SMALL)(brain)["image"]
    assert torch.equal(prepare({"image": stack})["image"], alone)
    assert torch.equal(prepare({"image": brain["flair"]})["image"], alone)
    for name in ("BraTS-GLI-1-000-t2f", "BraTS-GLI-1-000-t1n"):
        save(tmp_path / f"{name}.nii.gz", values, AFFINE)
    both = SlicePreprocessing(["flair", "t1"], **SMALL)({"image": str(tmp_path / "BraTS-GLI-1-000-t2f.nii.gz")})
    assert torch.equal(both["image"][1:], alone)


def test_predictions_go_back_to_the_scan(brain):
    loader = DataLoader(Dataset([brain], SlicePreprocessing(**SMALL)), batch_size=1)
    (item,) = decollate_batch(next(iter(loader)))
    item["pred"] = item["label"].float()
    restored = RestoreToReferenced("pred", mode="nearest")(item)["pred"]
    truth = np.asarray(nibabel.load(brain["label"]).dataobj) > 0
    assert restored.shape == (1, 50, 60, 6)
    np.testing.assert_array_equal(restored[0].numpy() > 0, truth)


def test_fingerprint_names_every_argument(brain):
    base = SlicePreprocessing()
    changes = [{"modalities": ["t1"]}, {"img_size": [144, 144]}, {"spacing": [1, 1, 2]}, {"percentiles": [0, 99]}]
    changes += [{"windows": {"flair": [0, 9]}}, {"stacked": ["t1", "flair"]}, {"interpolation": "bilinear"}]
    changes += [{"label_values": [0, 1]}, {"lesion_values": [4]}, {"with_label": False}, {"repair": True}]
    prints = {SlicePreprocessing(**change).fingerprint for change in changes} | {base.fingerprint}
    assert len(prints) == len(changes) + 1
    assert pickle.loads(pickle.dumps(base)).fingerprint == base.fingerprint
    assert SlicePreprocessing(**SMALL, lesion_values=[4])(brain)["label"].sum() == 4 * 4 * 8


def test_what_cannot_be_used_is_refused(brain, save, tmp_path):
    far = save(tmp_path / "far.nii.gz", np.ones((8, 8, 4), np.float32), np.diag([1.0, 1, 1, 1]) + 500 * np.eye(4, k=3))
    for item, message in [
        ({**brain, "t1": far}, "t1 and flair do not overlap"),
        (
            {**brain, "t1": save(tmp_path / "black.nii.gz", np.zeros((50, 60, 6), np.float32), AFFINE)},
            "t1 shows nothing",
        ),
        ({"flair": brain["flair"], "id": "x"} | {"t1": None}, None),
        ({"id": "y", "t1": brain["t1"]}, "the item has no flair"),
    ]:
        if message is None:
            SlicePreprocessing(["flair", "t1"], **SMALL)(item)  # found beside it
        else:
            with pytest.raises(DataError, match=message):
                SlicePreprocessing(["flair", "t1"], **SMALL)(item)
    with pytest.warns(UserWarning, match="600 of 800|lesion voxels lie outside the crop"):
        SlicePreprocessing(img_size=(16, 16))(brain)
    for wrong in ({"modalities": []}, {"img_size": [9]}, {"spacing": [1, 1, -1]}, {"interpolation": "cubic"}):
        with pytest.raises(ValueError, match=r"are expected|interpolation"):
            SlicePreprocessing(**wrong)


def test_grid_of_an_oblique_scan_keeps_its_axes():
    angle = np.deg2rad(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, :3] = torch.tensor(turn * [0.5, 0.5, 3])
    signal = torch.zeros(1, 60, 60, 10)
    signal[:, 20:50, 10:30] = 1
    result, shape = slice_grid(signal, affine, (1, 1, 1), (20, 20))
    assert shape == (20, 20, 30)
    np.testing.assert_allclose(result[:3, :3].numpy(), turn, atol=1e-12)
    centre = result.numpy()[:3] @ [9.5, 9.5, 14.5, 1]
    np.testing.assert_allclose(centre, affine.numpy()[:3] @ [34.5, 19.5, 4.5, 1], atol=1e-9)


def test_signal_of_an_empty_image_is_empty_and_windows_must_not_be():
    assert not clip_to_signal(torch.zeros(1, 3, 3, 3)).any()
    with pytest.raises(ValueError, match="below"):
        clip_to_signal(torch.ones(3), window=(5, 5))
