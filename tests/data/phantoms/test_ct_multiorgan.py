"""The multi-organ CT phantom is the same on every run, plausible in HU and anatomy, and not solved by a threshold."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from monai_ext.data import load_datalist, phantom
from monai_ext.data.phantoms import CT_ORGANS
from monai_ext.data.phantoms.ct_multiorgan import generate_ct_multiorgan

SIZE = (80, 70, 70)
NUMBER = {name: number for number, name in CT_ORGANS.items()}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MONAI_EXT_CACHE", str(tmp_path_factory.mktemp("cache")))
        return Path(phantom("ct_multiorgan", num_training=3, num_validation=1, num_unlabelled=1, size=list(SIZE)))


@pytest.fixture(scope="module")
def cases(root):
    items = load_datalist(root / "datalist.json", root, ["training", "testing"], required_keys=["image", "label"])
    return [item | {key: nib.load(item[key]) for key in ("image", "label")} for item in items]


def test_sections_folds_and_cases_without_label(root, cases):
    assert [case.get("fold") for case in cases] == [1, 1, 1, 0, None, None]
    (unlabelled,) = load_datalist(root / "datalist.json", root, "unlabelled", exclude_folds=0)
    assert unlabelled["fold"] == 1
    assert "label" not in unlabelled
    assert nib.load(unlabelled["image"]).shape == SIZE


def test_identical_on_regeneration_and_prefix_of_a_larger_set(cases, tmp_path):
    (item,) = generate_ct_multiorgan(tmp_path, 1, 0, 0, 0, size=SIZE)["training"]
    for key in ("image", "label"):
        assert (tmp_path / item[key]).read_bytes() == Path(cases[0][key].get_filename()).read_bytes()


def test_spacing_differs_between_cases_and_size_keeps_the_extent(cases, tmp_path):
    spacings = {tuple(np.round(case["image"].header.get_zooms(), 3)) for case in cases}
    assert len(spacings) == len(cases)
    for case in cases:
        extent = np.array(SIZE) * case["image"].header.get_zooms()
        assert (np.abs(extent / (350, 306, 360) - 1) < 0.2).all()
        np.testing.assert_array_equal(case["label"].affine, case["image"].affine)


def test_units(cases):
    for case in cases:
        ct = case["image"].get_fdata()
        assert case["image"].get_data_dtype() == np.int16
        assert ct[:3, :3].mean() == pytest.approx(-1000, abs=15)  # air beside the patient
        assert (ct > 400).mean() > 0.003  # bone
        assert 0.05 < ((ct > -150) & (ct < -50)).mean() < 0.4  # fat


def test_every_organ_has_a_plausible_volume_density_and_place(cases):
    volumes = {name: [] for name in NUMBER}
    for case in cases:
        ct, label = case["image"].get_fdata(), np.asarray(case["label"].dataobj)
        assert set(np.unique(label)) <= {0, *CT_ORGANS}
        millilitre = abs(np.linalg.det(case["image"].affine)) / 1000
        for name, number in NUMBER.items():
            volumes[name].append((label == number).sum() * millilitre)
        # RAS: the liver lies to the right of the spleen, the lungs above the liver, the spine behind the aorta.
        where = {
            name: case["label"].affine[:3, :3] @ np.argwhere(label == number).mean(0)
            for name, number in NUMBER.items()
            if (label == number).any()
        }
        assert where["liver"][0] > where["spleen"][0]
        assert where["kidney_right"][0] > where["kidney_left"][0]
        assert where["lung"][2] > where["liver"][2]
        assert where["vertebrae"][1] < where["aorta"][1]
        assert 30 < np.median(ct[label == NUMBER["liver"]]) < 180
        assert ct[label == NUMBER["lung"]].mean() < -650
    limits = {"liver": (700, 2200), "spleen": (60, 400), "kidney_right": (80, 320), "kidney_left": (80, 320)}
    limits |= {"stomach": (100, 600), "pancreas": (30, 200), "aorta": (50, 250), "vertebrae": (250, 900)}
    for name, (low, high) in limits.items():
        assert all(low < volume < high for volume in volumes[name]), (name, volumes[name])
    for name, values in volumes.items():
        assert np.std(values) > 0.03 * np.mean(values), name  # patients differ


def test_contrast_agent_differs_and_organs_overlap(cases):
    blood = [np.median(c["image"].get_fdata()[np.asarray(c["label"].dataobj) == NUMBER["aorta"]]) for c in cases]
    assert max(blood) - min(blood) > 60
    for case in cases:
        ct, label = case["image"].get_fdata(), np.asarray(case["label"].dataobj)
        for name in ("liver", "spleen", "pancreas", "kidney_left"):
            low, high = np.percentile(ct[label == NUMBER[name]], (10, 90))
            inside = (ct >= low) & (ct <= high)
            # Of the voxels in the range of an organ, most belong to something else.
            assert (label[inside] == NUMBER[name]).mean() < 0.65, name


def test_organs_are_in_one_piece(cases):
    for case in cases:
        label = np.asarray(case["label"].dataobj)
        for name in ("liver", "spleen", "kidney_right", "kidney_left", "pancreas"):
            parts, count = ndimage.label(label == NUMBER[name], np.ones((3, 3, 3)))
            largest = np.bincount(parts.ravel())[1:].max() / (label == NUMBER[name]).sum()
            assert largest > 0.9, (case["id"], name, count)


def test_noise_alone_separates_two_of_one_seed(tmp_path):
    quiet, noisy = (
        generate_ct_multiorgan(tmp_path / str(level), 1, 0, 0, 0, size=SIZE, noise=level)["training"][0]
        for level in (0.0, 1.0)
    )
    images = [nib.load(tmp_path / f / item["image"]).get_fdata() for f, item in (("0.0", quiet), ("1.0", noisy))]
    assert np.std(images[1] - images[0]) == pytest.approx(16, rel=0.05)
