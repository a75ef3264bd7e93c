"""The head-and-neck PET/CT phantom: the same on every run, HU and SUV on two grids, not solved by a threshold."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.processing import resample_from_to

from monai_ext.data import load_datalist, phantom
from monai_ext.data.phantoms.hn_petct import NODE, TUMOR, generate_hn_petct

KEYS = ["ct", "pet", "label"]


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Four cases, two of them without tumor."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MONAI_EXT_CACHE", str(tmp_path_factory.mktemp("cache")))
        root = phantom("hn_petct", num_training=3, num_validation=2, num_testing=0)
    items = load_datalist(f"{root}/datalist.json", root, required_keys=KEYS)
    return [item | {key: nib.load(item[key]) for key in KEYS} for item in items]


def on_ct(case):
    """CT, PET on its grid, and label."""
    pet = resample_from_to(case["pet"], case["ct"], order=1).get_fdata()
    return case["ct"].get_fdata(), pet, np.asarray(case["label"].dataobj)


def test_folds_and_negatives(cases):
    found = [(case["fold"], bool(np.any(case["label"].dataobj))) for case in cases]
    assert found == [(1, True), (1, True), (1, False), (0, True), (0, False)]


def test_identical_on_regeneration_and_prefix_of_a_larger_set(cases, tmp_path):
    (item,) = generate_hn_petct(tmp_path, num_training=1, num_validation=0, num_testing=0)["training"]
    for key in KEYS:
        assert (tmp_path / item[key]).read_bytes() == Path(cases[0][key].get_filename()).read_bytes()


def test_two_grids_one_place(cases):
    for case in cases:
        np.testing.assert_allclose(case["ct"].header.get_zooms(), (1.2, 1.2, 3), atol=1e-4)
        np.testing.assert_allclose(case["pet"].header.get_zooms(), (4, 4, 4))
        np.testing.assert_array_equal(case["label"].affine, case["ct"].affine)
        assert case["label"].shape == case["ct"].shape
        centers = [g.affine @ np.append((np.array(g.shape) - 1) / 2, 1) for g in (case["ct"], case["pet"])]
        assert np.abs(centers[0] - centers[1]).max() < 3


def test_units(cases):
    for case in cases:
        ct, pet = case["ct"].get_fdata(), case["pet"].get_fdata()
        assert case["pet"].get_data_dtype() == np.float32
        assert ct[2:20, 2:20].mean() == pytest.approx(-1000, abs=15)  # air beside the patient
        assert (ct > 600).mean() > 0.005  # bone
        assert 0.02 < ((ct > -150) & (ct < -50)).mean() < 0.6  # fat
        assert pet.min() >= 0
        assert 4 < pet.max() < 30
        assert pet[:3].mean() < 0.1


def test_tumors_take_up_more_than_muscle_and_lie_in_soft_tissue(cases):
    for case in cases:
        ct, pet, label = on_ct(case)
        assert set(np.unique(label)) <= {0, TUMOR, NODE}
        if label.any():
            assert (label == TUMOR).any()
            muscle = (np.abs(ct - 55) < 20) & (label == 0)
            assert pet[label > 0].mean() > 2 * np.median(pet[muscle])
            assert 0 < ct[label > 0].mean() < 110


def test_lymph_nodes_occur(cases):
    assert any(NODE in np.unique(case["label"].dataobj) for case in cases)


def test_pet_is_blurred_to_the_resolution_of_a_scanner(tmp_path):
    """Noise-free, no edge is sharper than that of a step blurred by 6 mm full width at half maximum."""
    (item,) = generate_hn_petct(tmp_path, num_training=1, num_validation=0, num_testing=0, noise=0)["training"]
    pet = nib.load(tmp_path / item["pet"]).get_fdata()
    steepest = np.abs(np.diff(pet, axis=0)).max() / 4  # SUV per mm
    assert steepest < (pet.max() - pet.min()) / (6 / 2.355 * np.sqrt(2 * np.pi))


def best_dice(values, truth):
    """Best Dice over all thresholds, of both signs."""
    best = 0.0
    for order in (np.argsort(values), np.argsort(-values)):
        hits = np.cumsum(truth[order])
        best = max(best, float(np.max(2 * hits / (np.arange(1, len(truth) + 1) + truth.sum()))))
    return best


def test_no_single_threshold_finds_the_tumors(cases):
    values, truths, single = {"ct": [], "pet": []}, [], []
    for case in cases:
        ct, pet, label = on_ct(case)
        body = ct > -500
        values["ct"].append(ct[body])
        values["pet"].append(pet[body])
        truths.append(label[body] > 0)
        if label.any():
            single.append(best_dice(pet[body], truths[-1]))
    for key in values:
        assert best_dice(np.concatenate(values[key]), np.concatenate(truths)) < 0.7
    assert np.mean(single) < 0.7
