import numpy as np
import pytest

from monai_ext.metrics import summarize, summarize_crossed


def crossed(rng, patients, draws, between_patients, between_draws, noise, mean=0.0):
    """Values with known effects of patient and draw."""
    return (
        mean
        + rng.normal(0, between_patients, (patients, 1))
        + rng.normal(0, between_draws, (1, draws))
        + rng.normal(0, noise, (patients, draws))
    )


@pytest.mark.parametrize("effects", [(0.1, 0.05, 0.02), (0.02, 0.1, 0.02), (0.1, 0.1, 0.1)])
def test_the_interval_holds_the_truth_as_often_as_it_says(effects):
    """Patients and draws that were not measured vary like those that were: of the intervals, 95 % hold it."""
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(200):
        found = summarize_crossed(crossed(rng, 30, 20, *effects, mean=0.3), num_resamples=200)
        hits += found["ci_low"] <= 0.3 <= found["ci_high"]
    assert 0.88 <= hits / 200 <= 0.99


@pytest.mark.parametrize(("draws", "share"), [(3, 0.84), (20, 0.92)])
def test_few_draws_make_it_too_narrow_by_as_much_as_is_said(draws, share):
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(200):
        found = summarize_crossed(crossed(rng, 30, draws, 0.05, 0.1, 0.05, mean=0.3), num_resamples=200)
        hits += found["ci_low"] <= 0.3 <= found["ci_high"]
    assert hits / 200 == pytest.approx(share, abs=0.06)


def test_patients_alone_would_claim_too_much():
    rng = np.random.default_rng(0)
    values = crossed(rng, 40, 5, 0.02, 0.1, 0.01)
    found, patients = summarize_crossed(values), summarize(values.mean(1))
    assert found["mean"] == pytest.approx(patients["mean"])
    assert found["ci_high"] - found["ci_low"] > 4 * (patients["ci_high"] - patients["ci_low"])


def test_one_draw_gives_the_interval_over_patients():
    values = np.random.default_rng(1).normal(0.5, 0.1, 50)
    found, patients = summarize_crossed(values[:, None]), summarize(values, num_resamples=4000)
    assert found["ci_low"] == pytest.approx(patients["ci_low"], abs=0.004)
    assert found["ci_high"] == pytest.approx(patients["ci_high"], abs=0.004)
    assert (found["patients"], found["draws"]) == (50, 1)


def test_folds_have_draws_of_their_own():
    """Five folds with three draws each vary like fifteen draws, not like three."""
    rng = np.random.default_rng(2)
    folds = np.repeat(np.arange(5), 8)
    effects = rng.normal(0, 0.1, (5, 3))[folds]
    values = effects + rng.normal(0, 0.001, effects.shape)
    nested, crossed_ = summarize_crossed(values, folds), summarize_crossed(values)
    assert nested["ci_high"] - nested["ci_low"] < crossed_["ci_high"] - crossed_["ci_low"]


def test_values_that_are_missing_are_left_out():
    values = np.array([[0.1, np.nan], [0.3, 0.5], [np.nan, np.nan]])
    found = summarize_crossed(values)
    assert found["mean"] == pytest.approx(0.3)
    assert (found["patients"], found["draws"]) == (2, 2)
    none = summarize_crossed(np.full((2, 2), np.nan))
    assert np.isnan(none["mean"])
    assert none["patients"] == 0
    assert np.isnan(summarize_crossed([[0.1, 0.2]])["ci_low"])


@pytest.mark.parametrize(
    ("values", "options", "words"),
    [
        ([0.1], {}, "patients x draws"),
        ([[0.1]], {"folds": [0, 1]}, "2 folds for 1"),
        ([[0.1]], {"confidence": 1.0}, "confidence"),
    ],
)
def test_wrong_arguments(values, options, words):
    with pytest.raises(ValueError, match=words):
        summarize_crossed(values, **options)
