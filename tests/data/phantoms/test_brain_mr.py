"""The brain phantom is the same on every run, right in its signals, and not solved by a threshold."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from monai_ext.data import load_datalist, phantom
from monai_ext.data.phantoms.brain_mr import EDEMA, ENHANCING, NECROSIS, TISSUES, Brain, generate_brain_mr

KEYS = ["t1", "t1ce", "t2", "flair", "label"]


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Four cases, one of them without tumor."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MONAI_EXT_CACHE", str(tmp_path_factory.mktemp("cache")))
        root = phantom("brain_mr", num_training=3, num_validation=0, num_testing=1)
    items = load_datalist(f"{root}/datalist.json", root, section=["training", "testing"], required_keys=KEYS)
    return [item | {key: nib.load(item[key]) for key in KEYS} for item in items]


def arrays(case):
    return {key: np.asarray(case[key].dataobj).astype(float) for key in KEYS}


def test_sections_and_negatives(cases):
    found = [(case.get("fold"), bool(np.any(case["label"].dataobj))) for case in cases]
    assert found == [(1, True), (1, True), (1, False), (None, True)]


def test_identical_on_regeneration_and_prefix_of_a_larger_set(cases, tmp_path):
    (item,) = generate_brain_mr(tmp_path, num_training=1, num_validation=0, num_testing=0)["training"]
    for key in KEYS:
        assert (tmp_path / item[key]).read_bytes() == Path(cases[0][key].get_filename()).read_bytes()
    (other,) = generate_brain_mr(tmp_path / "b", num_training=1, num_validation=0, num_testing=0, seed=1)["training"]
    assert not np.array_equal(nib.load(tmp_path / "b" / other["t1"]).dataobj, cases[0]["t1"].dataobj)


def test_one_grid_and_zero_outside_the_brain(cases):
    for case in cases:
        for key in KEYS:
            assert case[key].shape == (160, 192, 28)
            np.testing.assert_allclose(case[key].header.get_zooms(), (1, 1, 5))
            np.testing.assert_array_equal(case[key].affine, case["t1"].affine)
        image = arrays(case)
        brain = image["t2"] > 0
        for key in ("t1", "t1ce", "flair"):
            assert ((image[key] > 0) != brain).mean() < 0.002
        assert 0.7 < ndimage.binary_fill_holes(brain).sum() * 5 / 1e6 < 1.7  # liter
        assert not image["label"][~ndimage.binary_fill_holes(brain)].any()


def test_labels_are_those_of_brats(cases):
    for case in cases:
        label = arrays(case)["label"]
        if not label.any():
            continue
        assert set(np.unique(label)) <= {0, NECROSIS, EDEMA, ENHANCING}
        assert (label == EDEMA).any()
        assert (label == ENHANCING).any()
        core = (label == NECROSIS) | (label == ENHANCING)
        ring = ndimage.binary_dilation(label == NECROSIS, iterations=1) & (label != NECROSIS)
        assert core.sum() > 0
        assert (label[ring] == ENHANCING).mean() > 0.3


def test_signals_against_hand_calculation():
    brain = Brain((1, 1, 3))
    for index, name in enumerate(("white", "fluid", "enhancing")):
        where = np.zeros((1, 1, 3), bool)
        where[..., index] = True
        brain.paint(where, name)
    # White matter, T1 850 ms, T2 75 ms, density 0.7: 0.7 (1 - exp(-550/850)) exp(-12/75).
    assert brain.spin_echo(550, 12)[0, 0, 0] == pytest.approx(0.7 * (1 - 0.523581) * 0.852144, rel=1e-4)
    # Contrast of 0.25 mM shortens T1 of 1400 ms to 1 / (1/1.4 + 4.5 * 0.25) = 0.5436 s.
    ratio = (brain.spin_echo(550, 12, agent=True) / brain.spin_echo(550, 12))[0, 0, 2]
    assert ratio == pytest.approx((1 - np.exp(-550 / 543.6)) / (1 - np.exp(-550 / 1400)), rel=1e-3)
    # Fluid is nulled where 1 - 2 exp(-TI/T1) + exp(-TR/T1) = 0.
    null = 4200 * np.log(2 / (1 + np.exp(-9000 / 4200)))
    assert brain.flair(9000, null, 115)[0, 0, 1] == pytest.approx(0, abs=1e-12)
    half = Brain((1, 1, 1))
    half.paint(np.ones((1, 1, 1), bool), "edema", scale=0.5)
    assert half.maps["t2"].item() == (TISSUES["white"].t2 + TISSUES["edema"].t2) / 2


def test_tumors_look_as_they_should(cases):
    for case in cases:
        image = arrays(case)
        label = image.pop("label")
        if not label.any():
            continue
        around = ndimage.binary_dilation(label > 0, iterations=8) & (label == 0)
        normal = {key: np.median(values[around & (values > 0)]) for key, values in image.items()}
        mean = {
            key: {v: values[label == v].mean() / normal[key] for v in (NECROSIS, EDEMA, ENHANCING)}
            for key, values in image.items()
        }
        assert mean["flair"][EDEMA] > 1.1
        assert mean["t2"][EDEMA] > 1.1
        assert mean["t1"][NECROSIS] < 0.9
        assert mean["t1ce"][ENHANCING] > 1.15 * mean["t1"][ENHANCING]


def best_dice(values, truth):
    """Best Dice over all thresholds, of both signs."""
    best = 0.0
    for order in (np.argsort(values), np.argsort(-values)):
        hits = np.cumsum(truth[order])
        best = max(best, float(np.max(2 * hits / (np.arange(1, len(truth) + 1) + truth.sum()))))
    return best


@pytest.mark.parametrize("key", ["t1", "t1ce", "t2", "flair"])
def test_no_single_threshold_finds_the_tumors(cases, key):
    values, truths, single = [], [], []
    for case in cases:
        image = arrays(case)
        inside = image[key] > 0
        values.append(image[key][inside] / np.median(image[key][inside]))  # the scale of a scan is arbitrary
        truths.append(image["label"][inside] > 0)
        if truths[-1].any():
            single.append(best_dice(values[-1], truths[-1]))
    assert best_dice(np.concatenate(values), np.concatenate(truths)) < 0.75
    assert np.mean(single) < 0.75  # not even with a threshold of each case's own
