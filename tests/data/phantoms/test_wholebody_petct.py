"""The whole-body PET/CT phantom is the same on every run, in SUV and HU on two grids, and not solved by a threshold."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.processing import resample_from_to
from scipy import ndimage

from monai_ext.data import load_datalist, phantom
from monai_ext.data.phantoms.wholebody_petct import generate_petct

KEYS = ["pet", "ct", "label"]
SIZE = (72, 54, 96)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MONAI_EXT_CACHE", str(tmp_path_factory.mktemp("cache")))
        return Path(phantom("petct", num_testing=0, num_unlabelled=1, size=list(SIZE)))


@pytest.fixture(scope="module")
def cases(root):
    items = load_datalist(root / "datalist.json", root, required_keys=KEYS)
    return [item | {key: nib.load(item[key]) for key in KEYS} for item in items]


def test_folds_negatives_and_a_case_without_label(root, cases):
    found = [(case["fold"], bool(np.any(case["label"].dataobj))) for case in cases]
    assert found == [(1, True), (1, True), (1, False), (0, True), (0, False)]
    (unlabelled,) = load_datalist(root / "datalist.json", root, "unlabelled", required_keys=["pet", "ct"])
    assert "label" not in unlabelled


def test_the_ct_lies_beside_the_pet_under_its_name(cases):
    for case in cases:
        pet, ct = case["pet"].get_filename(), case["ct"].get_filename()
        assert ct == pet.replace("_pet.nii.gz", "_ct.nii.gz")


def test_identical_on_regeneration_and_prefix_of_a_larger_set(cases, tmp_path):
    (item,) = generate_petct(tmp_path, 1, 0, 0, size=SIZE)["training"]
    for key in KEYS:
        assert (tmp_path / item[key]).read_bytes() == Path(cases[0][key].get_filename()).read_bytes()


def test_larger_lesions_are_larger_and_all_else_is_the_same_patient(cases, tmp_path):
    (item,) = generate_petct(tmp_path, 1, 0, 0, size=SIZE, lesion_size=2.0)["training"]
    volumes = []
    for case in (cases[0], {key: nib.load(tmp_path / item[key]) for key in KEYS}):
        parts, count = ndimage.label(np.asarray(case["label"].dataobj))
        volumes.append(np.median(ndimage.sum_labels(parts > 0, parts, range(1, count + 1))))
    assert volumes[1] > 3 * volumes[0]
    assert item["id"] == cases[0]["id"]
    np.testing.assert_array_equal(nib.load(tmp_path / item["pet"]).affine, cases[0]["pet"].affine)


def test_two_grids_one_place(cases):
    for case in cases:
        pet, ct = (np.array(case[key].header.get_zooms()) for key in ("pet", "ct"))
        assert (pet > ct).all()
        assert case["pet"].shape == SIZE
        np.testing.assert_array_equal(case["label"].affine, case["pet"].affine)
        # The outline of the body is the same in both.
        on_pet = resample_from_to(case["ct"], case["pet"], order=1, cval=-1000).get_fdata()
        body = ndimage.binary_fill_holes(on_pet > -500)
        warm = case["pet"].get_fdata() > 0.15
        assert 2 * (body & warm).sum() / (body.sum() + warm.sum()) > 0.9


def test_units(cases):
    for case in cases:
        ct, pet = case["ct"].get_fdata(), case["pet"].get_fdata()
        assert case["pet"].get_data_dtype() == np.float32
        assert case["ct"].get_data_dtype() == np.int16
        assert pet.min() >= 0
        assert 10 < pet.max() < 60  # the bladder
        assert ct[:2, :2].mean() == pytest.approx(-1000, abs=15)
        assert (ct > 400).mean() > 0.005  # bone
        # As radioactive as a body of one gram per millilitre: the mean SUV is near one, less where it is excreted.
        body = resample_from_to(case["ct"], case["pet"], order=1, cval=-1000).get_fdata() > -500
        assert 0.7 < pet[body].mean() < 2.5


def test_lesions_differ_in_size_and_uptake(cases):
    volumes, peaks = [], []
    for case in cases:
        pet, label = case["pet"].get_fdata(), np.asarray(case["label"].dataobj)
        assert set(np.unique(label)) <= {0, 1}
        parts, count = ndimage.label(label)
        millilitre = abs(np.linalg.det(case["pet"].affine)) / 1000
        volumes += [(parts == part).sum() * millilitre for part in range(1, count + 1)]
        peaks += [pet[parts == part].max() for part in range(1, count + 1)]
    assert len(volumes) >= 5
    assert max(volumes) > 5 * min(volumes)
    assert min(peaks) < 6 < max(peaks)
    assert min(peaks) > 1


def test_healthy_tissue_takes_up_more_than_lesions(cases):
    for case in cases:
        pet, label = case["pet"].get_fdata(), np.asarray(case["label"].dataobj) > 0
        if label.any():
            assert (pet[~label] > np.median(pet[label])).sum() > label.sum()


def best_dice(values, truth):
    """Best Dice over all thresholds."""
    order = np.argsort(-values)
    hits = np.cumsum(truth[order])
    return float(np.max(2 * hits / (np.arange(1, len(truth) + 1) + truth.sum())))


def test_no_single_threshold_finds_the_lesions(cases):
    pets = [case["pet"].get_fdata().ravel() for case in cases]
    labels = [np.asarray(case["label"].dataobj).ravel() > 0 for case in cases]
    assert best_dice(np.concatenate(pets), np.concatenate(labels)) < 0.3
    assert max(best_dice(pet, label) for pet, label in zip(pets, labels) if label.any()) < 0.6
