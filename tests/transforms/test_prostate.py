import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from monai_ext.data import phantom
from monai_ext.errors import DataError
from monai_ext.networks.nets import FixedPointGenerator
from monai_ext.transforms import (
    GENERATOR_SCALES,
    AnomalyMapper,
    ProstatePreprocessing,
    RestoreToReferenced,
)

BOX = {"spacing": (1.5, 1.5, 3.0), "size": (48, 48, 20)}
MODALITIES = ("t2w", "adc", "hbv")


class Shift(nn.Module):
    """A generator that subtracts a quarter of the range, so that every map is known."""

    def __init__(self):
        super().__init__()
        self.amount = nn.Parameter(torch.tensor(0.25))

    def reconstruct(self, image, generator=None):
        return image - self.amount


@pytest.fixture(scope="module")
def case():
    root = Path(phantom("bpmri"))
    item = json.loads((root / "datalist.json").read_text())["training"][0]
    return {key: str(root / value) if str(value).endswith(".nii.gz") else value for key, value in item.items()}


@pytest.fixture
def mapper(tmp_path):
    for modality in MODALITIES:
        torch.save(Shift().state_dict(), tmp_path / f"{modality}.pt")
        (tmp_path / f"{modality}.json").write_text(json.dumps({"training_patients": ["other"], "generator": "x"}))
    return AnomalyMapper(Shift(), tmp_path, **BOX)


def test_result(case):
    result = ProstatePreprocessing(**BOX)(case)
    assert result["image"].shape == (3, *BOX["size"])
    assert result["image"].dtype == torch.float32
    assert result["label"].dtype == result["gland"].dtype == torch.uint8
    assert set(torch.unique(result["label"].as_tensor()).tolist()) == {0, 1}
    assert result["label"].meta["filename_or_obj"] == case["label"]
    for key in ("label", "gland"):
        source = nib.load(case[key])
        voxel = np.abs(np.linalg.det(source.affine[:3, :3]))
        volume = float((result[key] > 0).sum()) * 1.5 * 1.5 * 3  # the gland keeps its zones, 1 and 2
        assert volume == pytest.approx((np.asarray(source.dataobj) > 0).sum() * voxel, rel=0.08)
    inside = result["label"].as_tensor() > 0
    assert (result["gland"].as_tensor()[inside] > 0).float().mean() > 0.95
    # ADC of lesions is low: the channels are where they belong.
    gland = result["gland"].as_tensor()[0] > 0
    assert result["image"].as_tensor()[1][inside[0]].mean() < result["image"].as_tensor()[1][gland].mean()


def test_prediction_returns_to_the_grid_of_t2w(case):
    item = ProstatePreprocessing(**BOX)(case)
    item["pred"] = item["label"].float()
    restored = RestoreToReferenced("pred")(item)["pred"]
    t2w, label = nib.load(case["t2w"]), np.asarray(nib.load(case["label"]).dataobj) > 0
    assert np.abs(restored.affine.numpy() - t2w.affine).max() < 1e-4
    assert restored.shape[1:] == t2w.shape
    found = restored[0].numpy() > 0.5
    assert 2 * (found & label).sum() / (found.sum() + label.sum()) > 0.8  # 1.5 mm pixels and back


def test_map_of_a_known_generator(case, mapper):
    preprocessing = ProstatePreprocessing(**BOX, maps=MODALITIES, mapper=mapper, map_scale=2.0)
    study = preprocessing.study(case)
    maps = mapper(study, case["patient"])
    gland = study["gland"].as_tensor() != 0
    for modality in MODALITIES:
        values = maps[modality].as_tensor()
        assert (values[~gland] == 0).all()
        # |x - G(x)| is 0.25 of the generator's range everywhere: no fading at the border of the gland.
        expected = 0.25 * GENERATOR_SCALES[modality].width
        assert torch.allclose(values[gland & (values > 0)], torch.tensor(expected), atol=1e-4)
        assert (values[gland] > 0).float().mean() > 0.97
    result = preprocessing(case)
    inside = (result["gland"].as_tensor()[0] > 0) & (result["image"].as_tensor()[3] > 0)
    middle = result["image"].as_tensor()[3][inside].median()
    assert middle == pytest.approx(2 * 0.25 * GENERATOR_SCALES["t2w"].width, rel=1e-3)
    signed = AnomalyMapper(Shift(), mapper.weights, **BOX, signed=True)(study, case["patient"])["adc"].as_tensor()
    assert torch.allclose(signed, maps["adc"].as_tensor(), atol=1e-5)  # x - G(x) is positive here


def test_identity_leaves_no_trace(case, tmp_path):
    """A Fixed-Point generator whose residual is zero is exact, so its map is zero."""
    generator = FixedPointGenerator(channels=4, num_blocks=1)
    nn.init.zeros_(generator.layers[-1].weight)
    for modality in MODALITIES:
        torch.save(generator.state_dict(), tmp_path / f"{modality}.pt")
        (tmp_path / f"{modality}.json").write_text(json.dumps({"training_patients": [], "generator": "x"}))
    study = ProstatePreprocessing(**BOX).study(case)
    maps = AnomalyMapper(generator, tmp_path, **BOX)(study, "p")
    assert all(values.abs().max() < 1e-5 for values in maps.values())


def test_maps_from_files_need_no_generator(case, mapper, tmp_path):
    study = ProstatePreprocessing(**BOX).study(case)
    item = dict(case)
    for modality, values in mapper(study, "p").items():
        path = tmp_path / f"{modality}_map.nii.gz"
        nib.save(nib.Nifti1Image(values[0].numpy(), values.affine.numpy()), path)
        item[f"{modality}_map"] = str(path)
    made = ProstatePreprocessing(**BOX, maps=MODALITIES, mapper=mapper)(case)["image"]
    read = ProstatePreprocessing(**BOX, maps=MODALITIES)(item)["image"]
    assert torch.allclose(made.as_tensor(), read.as_tensor(), atol=1e-4)
    # Shuffled maps lie on the gland of whom they are given to.
    far = dict(item)
    for modality in MODALITIES:
        image = nib.load(item[f"{modality}_map"])
        moved = np.diag([1.0, 1, 1, 1])
        moved[:3, 3] = 500
        nib.save(nib.Nifti1Image(image.get_fdata().astype(np.float32), moved @ image.affine), tmp_path / "far.nii.gz")
        far[f"{modality}_map"] = str(tmp_path / "far.nii.gz")
    far["maps_of"] = "somebody"
    placed = ProstatePreprocessing(**BOX, maps=MODALITIES)(far)["image"].as_tensor()[3:]
    assert ((placed > 0) & (read.as_tensor()[3:] > 0)).sum() > 0.9 * (read.as_tensor()[3:] > 0).sum()


def test_zero_maps_need_nothing(case):
    image = ProstatePreprocessing(**BOX, maps=("adc",), map_scale=0.0)(case)["image"]
    assert image.shape[0] == 4
    assert (image.as_tensor()[3] == 0).all()


def test_leak_is_refused_where_there_is_a_label(case, mapper):
    mapper.weights.joinpath("adc.json").write_text(
        json.dumps({"training_patients": [case["patient"]], "generator": "x"})
    )
    options = {**BOX, "maps": ("adc",)}
    with pytest.raises(DataError, match="adc map would leak"):
        ProstatePreprocessing(**options, mapper=mapper)(case)
    with pytest.warns(UserWarning, match="would leak"):
        ProstatePreprocessing(**options, mapper=mapper, with_label=False)(case)


def test_errors_name_the_remedy(case, tmp_path):
    with pytest.raises(DataError, match=r"no generator of t2w.*run mapping"):
        ProstatePreprocessing(**BOX, maps=MODALITIES, mapper=AnomalyMapper(Shift(), tmp_path, **BOX))(case)
    with pytest.raises(DataError, match="no anomaly map of adc"):
        ProstatePreprocessing(**BOX, maps=("adc",))(case)
    bare = {key: value for key, value in case.items() if key not in ("gland", "zones")}
    for key in ("t2w", "adc", "hbv"):  # under other names, so that the mask beside them is not found
        bare[key] = str(tmp_path / f"lone_{key}.nii.gz")
        nib.save(nib.load(case[key]), bare[key])
    bare.pop("label")
    with pytest.raises(DataError, match="train the gland phase"):
        ProstatePreprocessing(**BOX)(bare)


def test_zones_make_the_crop(case):
    found = ProstatePreprocessing(**BOX)(case)
    assert found["gland_source"] == "zones"
    assert set(found["gland"].unique().tolist()) == {0, 1, 2}
    assert set(ProstatePreprocessing(**BOX, zones=False)(case)["gland"].unique().tolist()) == {0, 1}
    zones = found["gland"].as_tensor() > 0
    gland = ProstatePreprocessing(**BOX, zones=False)(case)["gland"].as_tensor() > 0
    assert (zones & gland).sum() > 0.9 * gland.sum()
    without = {key: value for key, value in case.items() if key != "gland"}
    assert ProstatePreprocessing(**BOX)(without)["image"].shape == (3, *BOX["size"])


def test_equal_transforms_share_their_cache(mapper):
    one, other = (ProstatePreprocessing(**BOX, maps=("adc",), mapper=mapper) for _ in range(2))
    assert one.fingerprint == other.fingerprint
    before = one.fingerprint
    torch.save({"amount": torch.tensor(0.5)}, mapper.weights / "adc.pt")
    assert one.fingerprint != before
    assert ProstatePreprocessing(**BOX).fingerprint != ProstatePreprocessing(**BOX, lesion_from=2).fingerprint
