import json
import pickle
import shutil
import warnings

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy import ndimage

from monai_ext.errors import DataError
from monai_ext.transforms.grid import RestoreToReferenced
from monai_ext.transforms.petct import PETCTPreprocessing

PET_AFFINE = np.array([[-4.0, 0, 0, 60.0], [0, -4.0, 0, 50.0], [0, 0, 3.0, -20.0], [0, 0, 0, 1]])
CT_AFFINE = np.array([[-2.0, 0, 0, 50.0], [0, -2.0, 0, 45.0], [0, 0, 2.5, -18.0], [0, 0, 0, 1]])


def blurred(shape, scale, offset, seed):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return (offset + scale * field / field.std()).astype(np.float32)


@pytest.fixture
def petct(tmp_path, save):
    """PET and CT on two grids; the CT is smaller than the PET's field of view."""
    pet = np.abs(blurred((30, 26, 20), 3, 2, 0))
    label = (pet > 6).astype(np.uint8)
    assert 20 < label.sum() < 2000
    return {
        "id": "case",
        "pet": save(tmp_path / "case_pet.nii.gz", pet, PET_AFFINE),
        "ct": save(tmp_path / "case_ct.nii.gz", blurred((48, 44, 20), 400, -100, 1), CT_AFFINE),
        "label": save(tmp_path / "case_label.nii.gz", label, PET_AFFINE),
    }


def ras(path):
    image = nibabel.as_closest_canonical(nibabel.load(path))
    return np.asarray(image.dataobj, dtype=np.float64), image.affine


def test_pet_grid_and_scales_against_numpy(petct):
    item = PETCTPreprocessing(spacing=None)(petct)
    assert item.keys() == {
        *("id", "image", "label", "original_affine", "original_shape"),
        *("ct_affine", "ct_shape"),
    }
    pet, pet_affine = ras(petct["pet"])
    np.testing.assert_allclose(item["image"].affine.numpy(), pet_affine, atol=1e-6)
    np.testing.assert_allclose(item["image"][1].numpy(), (pet.clip(1.044, 51.60) - 7.09) / 8.01, atol=1e-5)
    # SciPy resamples the CT, with air outside of it.
    ct, ct_affine = ras(petct["ct"])
    to_ct = np.linalg.inv(ct_affine) @ pet_affine
    on_pet = ndimage.affine_transform(
        ct, to_ct[:3, :3], to_ct[:3, 3], pet.shape, order=1, mode="grid-constant", cval=-1024
    )
    outside = on_pet == -1024
    assert 0.02 < outside.mean() < 0.9
    np.testing.assert_allclose(item["image"][0].numpy(), (on_pet.clip(-832, 1127.5) - 107.78) / 286.17, atol=1e-3)
    assert torch.equal(item["label"][0].double(), torch.from_numpy(ras(petct["label"])[0]))
    assert item["label"].meta["filename_or_obj"] == petct["label"]
    np.testing.assert_allclose(item["original_affine"].numpy(), PET_AFFINE, atol=1e-5)
    np.testing.assert_allclose(item["ct_affine"].numpy(), CT_AFFINE, atol=1e-5)
    assert item["ct_shape"].tolist() == [48, 44, 20]


def test_spacing_keeps_places_and_volume(petct):
    item = PETCTPreprocessing(spacing=(2.0, 2.0, 3.0))(petct)
    assert item["image"].shape == (2, 60, 52, 20)
    np.testing.assert_allclose(item["image"].pixdim.numpy(), [2, 2, 3], atol=1e-5)
    truth = int(np.asarray(nibabel.load(petct["label"]).dataobj).sum()) * 48
    assert int(item["label"].sum()) * 12 == pytest.approx(truth, rel=0.01)
    # back on the grid of the PET: what was up-sampled by 2 comes back as a mean of four
    back = RestoreToReferenced("pred")({**item, "pred": item["image"][1:]})["pred"]
    pet = np.asarray(nibabel.load(petct["pet"]).dataobj)
    assert back.shape == (1, *pet.shape)
    error = np.abs(back[0].numpy() * 8.01 + 7.09 - pet.clip(1.044, 51.6))
    assert error[2:-2, 2:-2].mean() < 0.25
    np.testing.assert_allclose(back.affine.numpy(), PET_AFFINE, atol=1e-5)


def test_default_spacing_is_the_paper_containers():
    assert PETCTPreprocessing().spacing == (2.036, 2.036, 3.0)


def test_zscore(petct):
    pet = PETCTPreprocessing(spacing=None, pet_norm="zscore")(petct)["image"][1]
    assert float(pet.mean()) == pytest.approx(0, abs=1e-4)
    assert float(pet.std()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("pet", "ct", "name"),
    [
        ("x_pet.nii.gz", "x_ct.nii.gz", "x"),
        ("x_0001.nii.gz", "x_0000.nii.gz", "x"),
        ("x/SUV.nii.gz", "x/CTres.nii.gz", "x"),
        ("x.nii.gz", "x_ct.nii.gz", "x"),
    ],
)
def test_image_alone_finds_the_ct(petct, tmp_path, pet, ct, name):
    folder = tmp_path / "other"
    (folder / "x").mkdir(parents=True)
    for key, file in (("pet", pet), ("ct", ct)):
        shutil.copy(petct[key], folder / file)
    prepare = PETCTPreprocessing(spacing=None)
    item = prepare({"image": str(folder / pet)})
    assert item["id"] == name
    assert torch.equal(item["image"], prepare(petct)["image"])


def test_stacked_file_is_ct_then_pet(petct, tmp_path, save):
    ct, pet = blurred((30, 26, 20), 300, -100, 3), np.asarray(nibabel.load(petct["pet"]).dataobj)
    files = {"pet": petct["pet"], "ct": save(tmp_path / "y_ct.nii.gz", ct, PET_AFFINE)}
    stack = save(tmp_path / "stack.nii.gz", np.stack([ct, pet], -1), PET_AFFINE)
    prepare = PETCTPreprocessing(spacing=None)
    assert torch.equal(prepare({"image": stack})["image"], prepare(files)["image"])


def test_missing_ct_is_refused_or_a_channel_of_zeros(petct):
    del petct["ct"]
    (file := nibabel.load(petct["pet"])).to_filename(alone := petct["pet"].replace("case_pet", "alone"))
    assert file.shape == (30, 26, 20)
    with pytest.raises(DataError, match=r"ct is missing; looked for alone_ct\.nii\.gz.*allow_missing"):
        PETCTPreprocessing()({"image": alone})
    with pytest.warns(UserWarning, match="case alone: no ct"):
        item = PETCTPreprocessing(spacing=None, allow_missing=["ct"])({"image": alone})
    assert not item["image"][0].any()
    assert item["image"][1].any()
    assert "ct_affine" not in item


def test_ct_alone_for_pretraining(petct):
    with pytest.raises(DataError, match="has no pet"):
        PETCTPreprocessing()({"ct": petct["ct"]})
    with pytest.warns(UserWarning, match="no pet"):
        item = PETCTPreprocessing(spacing=(4, 4, 4), allow_missing=["pet"])({"ct": petct["ct"]})
    assert item["id"] == "case"
    assert not item["image"][1].any()
    assert item["image"].shape == (2, 24, 22, 12)
    assert item["original_shape"].tolist() == [48, 44, 20]


def test_clicks_lie_where_they_were_made(petct, tmp_path):
    clicks = {"points": [{"point": [10, 12, 7], "name": "tumor"}, {"point": [20, 5, 15], "name": "background"}]}
    (tmp_path / "clicks.json").write_text(json.dumps(clicks))
    item = PETCTPreprocessing(spacing=(2, 2, 3), clicks="balls")({**petct, "clicks": str(tmp_path / "clicks.json")})
    assert item["image"].shape == (4, 60, 52, 20)
    assert "clicks" not in item
    for channel, click in zip(item["image"][2:], clicks["points"]):
        place = np.array(np.unravel_index(int(channel.argmax()), channel.shape))
        world = item["image"].affine.numpy() @ [*place, 1]
        assert np.abs(world - PET_AFFINE @ [*click["point"], 1]).max() <= 1.01  # half a voxel
    empty = PETCTPreprocessing(spacing=(2, 2, 3), clicks="balls")(petct)["image"]
    assert empty.shape == (4, 60, 52, 20)
    assert not empty[2:].any()


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        ("pet", lambda x: x * 5000, "Bq/ml"),
        ("pet", lambda x: x - 1000, "is it a CT"),
        ("ct", lambda x: np.abs(x) / 100, "hold no air"),
    ],
)
def test_implausible_values_are_warned_of(petct, save, key, values, message):
    file = nibabel.load(petct[key])
    save(petct[key], values(np.asarray(file.dataobj)).astype(np.float32), file.affine)
    with pytest.warns(UserWarning, match=message):
        PETCTPreprocessing(spacing=None)(petct)


def test_plausible_values_are_not(petct):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="case ")
        PETCTPreprocessing(spacing=None)(petct)


def test_label_on_another_grid_is_refused(petct, save):
    save(petct["label"], np.zeros((48, 44, 20), np.uint8), CT_AFFINE)
    with pytest.raises(DataError, match="Resample the label onto the grid of pet"):
        PETCTPreprocessing()(petct)


def test_deterministic_picklable_and_fingerprinted(petct):
    first = PETCTPreprocessing(spacing=None)
    copy = pickle.loads(pickle.dumps(first))
    assert repr(first) == repr(copy)
    others = [{"pet_norm": "zscore"}, {"clicks": "balls"}, {"allow_missing": ["ct"]}, {"spacing": (1, 1, 1)}]
    prints = {first.fingerprint, *(PETCTPreprocessing(**{"spacing": None, **o}).fingerprint for o in others)}
    assert len(prints) == 1 + len(others)
    assert torch.equal(first(petct)["image"], copy(petct)["image"])
    assert isinstance(first(petct)["image"], MetaTensor)


@pytest.mark.parametrize(
    "arguments", [{"pet_norm": "percentile"}, {"allow_missing": ["mr"]}, {"clicks": "dots"}], ids=str
)
def test_unknown_arguments(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        PETCTPreprocessing(**arguments)


def test_scales_of_the_set(petct):
    """PET from SUV 0: nothing below a floor is hidden; the CT keeps autoPET's numbers where none are given."""
    plain, own = (PETCTPreprocessing(None, scales=s)(petct)["image"].numpy() for s in (None, {"pet": (0, 15, 3, 2)}))
    np.testing.assert_allclose(own[1], (ras(petct["pet"])[0].clip(0, 15) - 3) / 2, atol=1e-5)
    np.testing.assert_array_equal(own[0], plain[0])
    assert len(np.unique(own[1])) > 1.2 * len(np.unique(plain[1]))
    with pytest.raises(ValueError, match="mr"):
        PETCTPreprocessing(scales={"mr": (0, 1, 0, 1)})
