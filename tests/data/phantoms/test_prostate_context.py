"""Nodules come in mirror pairs, lesions alone, voxels cannot tell them apart, and the scans are like real ones."""

import inspect
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from context_probe import (
    context_scores,
    crop,
    judge,
    local_scores,
    patients,
    pixel_scores,
    slices,
    statistics,
    unet_scores,
)
from sklearn.metrics import roc_auc_score

from monai_ext.data import load_datalist, phantom
from monai_ext.data.phantoms.prostate_context import generate_prostate_context

KEYS = ["t2w", "adc", "hbv", "gland", "zones", "benign"]
# Statistics of the crops of ProstateX-0000 and -0001 (PROSTATEx, doi 10.7937/K9TCIA.2017.MURS5CL; masks of PI-CAI),
# T2W and high-b as z-score, ADC in 1e-6 mm2/s: the lower and the higher one, and how far outside the phantom may lie.
REAL = {
    ("gland", "t2w", "mean"): (-0.38, 0.01, 0.15),
    ("gland", "t2w", "sd"): (0.39, 0.70, 0.1),
    ("peripheral", "t2w", "mean"): (-0.08, 0.46, 0.15),
    ("transition", "t2w", "mean"): (-0.54, -0.52, 0.35),
    ("transition", "t2w", "sd"): (0.23, 0.30, 0.15),
    ("gland", "adc", "mean"): (1306, 1460, 120),
    ("gland", "adc", "sd"): (310, 328, 80),
    ("peripheral", "adc", "mean"): (1407, 1627, 150),
    ("transition", "adc", "mean"): (1251, 1266, 120),
    ("lesion", "adc", "mean"): (1080, 1080, 150),
    ("gland", "hbv", "mean"): (0.64, 1.07, 0.2),
    ("gland", "hbv", "sd"): (0.35, 0.36, 0.25),
    ("crop", "t2w", "sd"): (0.91, 1.09, 0.15),
    ("crop", "hbv", "sd"): (0.48, 0.70, 0.15),
    ("roughness", "t2w", "sd"): (0.16, 0.22, 0.05),
    ("roughness", "adc", "sd"): (0.11, 0.13, 0.05),
    ("roughness", "hbv", "sd"): (0.08, 0.13, 0.04),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MONAI_EXT_CACHE", str(tmp_path_factory.mktemp("cache")))
        sizes = {"num_training": 5, "num_validation": 1, "num_testing": 5, "num_unlabelled": 1}
        return Path(phantom("prostate_context", **sizes, seed=3))


@pytest.fixture(scope="module")
def items(root):
    sections = ["training", "testing"]
    return load_datalist(root / "datalist.json", root, section=sections, required_keys=[*KEYS, "label"])


@pytest.fixture(scope="module")
def masks(items):
    """Gland, look-alikes and lesions of each patient as the writer drew them."""
    return [[np.asarray(nib.load(item[key]).dataobj) > 0 for key in ("gland", "benign", "label")] for item in items]


def mirrored(mask, gland):
    """The mask on the other side of the gland's middle."""
    middle = np.nonzero(gland)[0].mean()
    source = np.rint(2 * middle - np.arange(len(mask))).astype(int)
    inside = (source >= 0) & (source < len(mask))
    return np.where(inside[:, None, None], mask[source.clip(0, len(mask) - 1)], False)


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_the_default_set_has_patients_enough_to_compare_methods():
    default = {p.name: p.default for p in inspect.signature(generate_prostate_context).parameters.values()}
    assert default["num_testing"] >= 30
    assert default["num_unlabelled"] >= 40
    assert default["num_training"] >= 30


def test_sections_folds_negatives_and_no_label_without_one(root, items):
    found = [(item.get("fold", "testing"), bool(np.any(nib.load(item["label"]).dataobj))) for item in items]
    training = [(1, True), (1, True), (1, False), (1, True), (1, True), (0, True)]
    testing = [("testing", True), ("testing", False)]
    assert found == [*training, *testing, *testing, testing[0]]
    (unlabelled,) = load_datalist(root / "datalist.json", root, "unlabelled", required_keys=KEYS)
    assert "label" not in unlabelled


def test_identical_on_regeneration_and_prefix_of_a_larger_set(items, tmp_path):
    (item,) = generate_prostate_context(tmp_path, 1, 0, 0, 0, seed=3)["training"]
    for key in [*KEYS, "label"]:
        assert (tmp_path / item[key]).read_bytes() == Path(items[0][key]).read_bytes()


def test_lesions_and_nodules_lie_in_the_gland_and_apart(items, masks):
    for item, (gland, benign, lesion) in zip(items, masks):
        zones = np.asarray(nib.load(item["zones"]).dataobj)
        np.testing.assert_array_equal(zones > 0, gland)
        assert set(np.unique(zones)) == {0, 1, 2}
        assert not np.any((benign | lesion) & ~gland)
        assert not np.any(benign & lesion)
        assert 0.25 < benign.sum() / gland.sum() < 0.55


def test_nodules_come_in_mirror_pairs_and_lesions_alone(masks):
    paired = [dice(benign | lesion, mirrored(benign | lesion, gland)) for gland, benign, lesion in masks]
    alone = [dice(lesion, mirrored(lesion, gland)) for gland, _, lesion in masks if lesion.any()]
    assert np.mean(paired) > 0.65
    assert np.mean(alone) < 0.15


def test_voxels_of_lesions_and_nodules_have_the_same_intensities(items):
    found = {"lesion": [], "benign": []}
    for item in items:
        image, lesion, _ = crop(item)
        _, benign, _ = crop(item | {"label": item["benign"]})
        found["lesion"].append(image[:, lesion])
        found["benign"].append(image[:, benign])
    lesion, benign = (np.concatenate(found[key], 1) for key in ("lesion", "benign"))
    truth = np.concatenate([np.ones(lesion.shape[1]), np.zeros(benign.shape[1])])
    for values in np.concatenate([lesion, benign], 1):
        assert 0.35 < roc_auc_score(truth, values) < 0.65


def test_intensities_and_noise_are_those_of_two_real_patients(items):
    found = [statistics(*crop(item)) for item in items]
    for key, (lowest, highest, tolerance) in REAL.items():
        values = [part[key] for part in found if key in part]
        assert lowest - tolerance < np.mean(values) < highest + tolerance, (key, np.mean(values))


def test_the_measured_statistics_are_those_of_the_real_scans(real_data):
    root, found = real_data("prostatex_bpmri"), []
    for name in ("ProstateX-0000", "ProstateX-0001"):
        masks = root / name / "masks_cc-by-nc"
        item = {key: str(root / name / f"{name}_{key}.mha") for key in ("t2w", "adc", "hbv")}
        item |= {key: str(masks / f"{name}_{key}_ai.nii.gz") for key in ("gland", "zones")}
        found.append(statistics(*crop(item | {"id": name, "label": str(masks / f"{name}_lesion_expert.nii.gz")})))
    for key, (lowest, highest, _) in REAL.items():
        values = [part[key] for part in found if key in part]
        assert [min(values), max(values)] == pytest.approx([lowest, highest], rel=0.002, abs=0.006)


def test_a_pixel_classifier_does_not_find_the_lesions_of_a_few_patients(items):
    training, test = (slices([item for item in items if ("fold" in item) == known]) for known in (True, False))
    auc, best = judge(pixel_scores(training, test), test)
    assert auc < 0.85
    assert best < 0.3


@pytest.mark.slow
def test_context_decides_and_pixels_do_not(tmp_path):
    training, test = patients(tmp_path, 30, 30, seed=0)
    by_place, by_network = (judge(scores(training, test), test) for scores in (context_scores, unet_scores))
    for scores in (pixel_scores, local_scores):
        auc, best = judge(scores(training, test), test)
        assert auc < 0.80
        assert by_place[0] > auc + 0.05
        assert min(by_place[1], by_network[1]) > best + 0.05
        assert by_network[0] > auc + 0.02
