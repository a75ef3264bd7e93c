"""The bpMRI phantom is the same on every run, right in physics and geometry, and not solved by a threshold."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.processing import resample_from_to
from scipy import ndimage

from monai_ext.data import load_datalist, phantom
from monai_ext.data.phantoms.bpmri import generate_bpmri
from monai_ext.data.phantoms.texture import rician
from monai_ext.data.phantoms.tissues import apparent_diffusion, diffusion_signal, t2_signal

KEYS = ["t2w", "adc", "hbv", "label", "gland", "zones"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MONAI_EXT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def cases(cache):
    """All six cases of the default set: by section, with images as nibabel sees them."""
    root = phantom("bpmri")
    path = f"{root}/datalist.json"
    items = load_datalist(path, root, section=["training", "testing"], required_keys=KEYS)
    return [item | {key: nib.load(item[key]) for key in KEYS} for item in items]


def test_sections_folds_and_negatives(cases):
    groups = {}
    for case in cases:
        key = case.get("fold", "testing")
        groups.setdefault(key, []).append(bool(np.any(case["label"].dataobj)))
    assert groups == {1: [True, True], 0: [True, False], "testing": [True, False]}


def test_identical_on_regeneration_and_prefix_of_a_larger_set(cases, tmp_path):
    datalist = generate_bpmri(tmp_path, num_training=1, num_validation=0, num_testing=0)
    (item,) = datalist["training"]
    for key in KEYS:
        assert (tmp_path / item[key]).read_bytes() == Path(cases[0][key].get_filename()).read_bytes()


def test_larger_lesions_are_larger_and_all_else_is_the_same_patient(cases, tmp_path):
    (item,) = generate_bpmri(tmp_path, num_training=1, num_validation=0, num_testing=0, lesion_size=1.6)["training"]
    label, gland = (np.asarray(nib.load(tmp_path / item[key]).dataobj) for key in ("label", "gland"))
    before = np.asarray(cases[0]["label"].dataobj)
    assert 2 * before.sum() < label.sum() < 5 * before.sum()  # 1.6 cubed is 4.1; the gland's rim cuts some off
    assert not label[gland == 0].any()
    np.testing.assert_array_equal(gland, np.asarray(cases[0]["gland"].dataobj))


def test_the_counterfactual_is_the_same_patient_without_the_lesion(cases, tmp_path):
    (item,) = generate_bpmri(tmp_path, num_training=1, num_validation=0, num_testing=0, counterfactual=True)["training"]
    for key in KEYS:  # the patient is unchanged by its twin
        assert (tmp_path / item[key]).read_bytes() == Path(cases[0][key].get_filename()).read_bytes()
    label = nib.load(tmp_path / item["label"])
    for key, spacing in (("t2w", 0.8), ("adc", 2.0), ("hbv", 2.0)):
        image, healthy = nib.load(tmp_path / item[key]), nib.load(tmp_path / item[f"healthy_{key}"])
        np.testing.assert_array_equal(image.affine, healthy.affine)
        lesion = np.asarray(resample_from_to(label, image, order=0).dataobj) > 0
        far = ndimage.distance_transform_edt(~lesion, sampling=(spacing, spacing, 3.0)) > 12
        difference = image.get_fdata() - healthy.get_fdata()
        assert np.abs(difference[far]).max() == 0
        sign = 1 if key == "hbv" else -1
        assert sign * difference[lesion].mean() > 0.1 * np.abs(healthy.get_fdata()[lesion]).mean()


def test_the_counterfactual_of_one_section(tmp_path):
    made = generate_bpmri(tmp_path, num_training=1, num_validation=0, num_testing=1, counterfactual="testing")
    twins = {section: ["healthy_t2w" in item for item in items] for section, items in made.items()}
    assert twins == {"training": [False], "testing": [True]}


def test_another_seed_is_another_patient(cases, tmp_path):
    datalist = generate_bpmri(tmp_path, num_training=1, num_validation=0, num_testing=0, seed=1)
    other = nib.load(tmp_path / datalist["training"][0]["gland"])
    assert other.shape != cases[0]["gland"].shape or not np.array_equal(other.dataobj, cases[0]["gland"].dataobj)


def test_grids_differ_and_masks_lie_on_that_of_t2w(cases):
    for case in cases:
        t2w, adc = case["t2w"], case["adc"]
        assert t2w.shape[:2] == (192, 192)
        assert adc.shape[:2] == (80, 80)
        np.testing.assert_allclose(t2w.header.get_zooms(), (0.8, 0.8, 3.0), atol=1e-4)
        np.testing.assert_allclose(adc.header.get_zooms(), (2.0, 2.0, 3.0), atol=1e-4)
        np.testing.assert_array_equal(adc.affine, case["hbv"].affine)
        directions = t2w.affine[:3, :3] / t2w.header.get_zooms(), adc.affine[:3, :3] / adc.header.get_zooms()
        turned = np.degrees(np.arccos((np.trace(directions[0].T @ directions[1]) - 1) / 2))
        assert 0.3 < turned < 6
        for key in ("label", "gland", "zones"):
            assert case[key].shape == t2w.shape
            np.testing.assert_array_equal(case[key].affine, t2w.affine)


def test_anatomy_is_consistent(cases):
    for case in cases:
        label, gland, zones = (np.asarray(case[key].dataobj) for key in ("label", "gland", "zones"))
        assert set(np.unique(gland)) == {0, 1}
        assert set(np.unique(zones)) == {0, 1, 2}
        np.testing.assert_array_equal(zones > 0, gland > 0)
        assert not np.any((label > 0) & (gland == 0))
        assert ndimage.label(gland)[1] == 1
        assert 15 < gland.sum() * 0.8 * 0.8 * 3 / 1000 < 90  # ml
        edge = np.ones_like(gland, dtype=bool)
        edge[8:-8, 8:-8] = False
        assert not np.any(gland[edge])  # bundles crop with a margin of 8 pixels


def test_lesions_have_the_size_of_significant_cancer(cases):
    for case in cases:
        components, count = ndimage.label(case["label"].dataobj, np.ones((3, 3, 3)))
        assert count <= 2
        for box in ndimage.find_objects(components):
            extent = [(s.stop - s.start) * size for s, size in zip(box, (0.8, 0.8, 3.0))]
            assert 5 < max(extent) < 40  # two lesions may touch


def test_signal_equations_against_hand_calculation():
    # Peripheral zone: T2 150 ms at TE 100 ms; ADC 1.65e-3 mm2/s at b = 1000 s/mm2.
    assert t2_signal(np.array(1.0), np.array(150.0), 100) == pytest.approx(0.513417)
    assert diffusion_signal(np.array(2.0), np.array(1650.0), 1000) == pytest.approx(2 * 0.192050, rel=1e-5)
    s0, adc = np.array([10.0, 3.0, 1.0]), np.array([400.0, 1200.0, 2900.0])
    images = [diffusion_signal(s0, adc, b) for b in (50, 1000)]
    np.testing.assert_allclose(apparent_diffusion(*images, 50, 1000), adc)


def test_without_noise_the_written_images_obey_the_diffusion_equation(tmp_path):
    sizes = {"num_training": 1, "num_validation": 0, "num_testing": 0, "noise": 0.0}
    derived = generate_bpmri(tmp_path / "derived", **sizes)["training"][0]
    acquired = generate_bpmri(tmp_path / "acquired", **sizes, acquired_b=True)["training"][0]
    assert "adc" not in acquired
    assert "hbv" not in acquired
    low, high = (nib.load(tmp_path / "acquired" / acquired[key]).get_fdata() for key in ("b50", "b1000"))
    adc, hbv = (nib.load(tmp_path / "derived" / derived[key]).get_fdata() for key in ("adc", "hbv"))
    clear = (high > 60) & (adc > 0)  # where rounding to integers leaves two digits
    assert clear.sum() > 5000
    expected = np.log(low[clear] / high[clear]) / 950 * 1e6
    np.testing.assert_allclose(adc[clear], expected, atol=20)
    np.testing.assert_allclose(hbv[clear], high[clear] * np.exp(-500e-6 * adc[clear]), atol=1)


def test_rician_noise_has_the_second_moment_of_its_distribution():
    # E[M^2] = A^2 + 2 sigma^2 (Gudbjartsson & Patz 1995).
    noisy = rician(np.full(200_000, 1.5), 0.8, np.random.default_rng(0))
    assert np.mean(noisy**2) == pytest.approx(1.5**2 + 2 * 0.8**2, rel=0.01)


def _best_dice(values, truth):
    """Best Dice over all thresholds and both signs: sort once, accumulate."""
    best = 0.0
    for order in (np.argsort(values), np.argsort(-values)):
        hits = np.cumsum(truth[order])
        best = max(best, float(np.max(2 * hits / (np.arange(1, len(truth) + 1) + truth.sum()))))
    return best


@pytest.mark.parametrize("key", ["t2w", "adc", "hbv"])
def test_no_single_threshold_finds_the_lesions_even_inside_the_gland(cases, key):
    values, truths, single = [], [], []
    for case in cases:
        truth = np.asarray(case["label"].dataobj) > 0
        if not truth.any():
            continue
        gland = np.asarray(case["gland"].dataobj) > 0
        image = resample_from_to(case[key], case["t2w"], order=1).get_fdata()[gland]
        values.append(image / np.median(image))  # the scale of a scan is arbitrary
        truths.append(truth[gland])
        single.append(_best_dice(values[-1], truths[-1]))
    assert _best_dice(np.concatenate(values), np.concatenate(truths)) < 0.7
    assert np.mean(single) < 0.7  # not even with a threshold of each case's own


def test_lesions_restrict_diffusion_on_average(cases):
    for case in cases:
        label, gland = (np.asarray(case[key].dataobj) > 0 for key in ("label", "gland"))
        if label.any():
            adc, hbv = (resample_from_to(case[key], case["t2w"], order=1).get_fdata() for key in ("adc", "hbv"))
            assert adc[label].mean() < 0.9 * adc[gland & ~label].mean()
            assert hbv[label].mean() > 1.2 * hbv[gland & ~label].mean()


def test_the_datalist_is_relative_and_in_the_cache(cache):
    root = Path(phantom("bpmri"))
    for section in json.loads((root / "datalist.json").read_text()).values():
        assert all(not Path(item["t2w"]).is_absolute() and (root / item["t2w"]).exists() for item in section)
