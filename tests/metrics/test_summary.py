import numpy as np
import pytest
import torch
from scipy import stats

from monai_ext.metrics import summarize

SAMPLE = np.random.default_rng(7).beta(2, 3, size=40)


def test_ungrouped_equals_scipy():
    ours = summarize(SAMPLE, num_resamples=20_000)
    scipy = stats.bootstrap((SAMPLE,), np.mean, method="percentile", n_resamples=20_000, rng=1).confidence_interval
    assert ours["mean"] == pytest.approx(SAMPLE.mean())
    # Two runs with other random numbers: the ends agree within their Monte-Carlo error; the width is 0.13.
    assert ours["ci_low"] == pytest.approx(scipy.low, abs=2e-3)
    assert ours["ci_high"] == pytest.approx(scipy.high, abs=2e-3)
    narrow = summarize(SAMPLE, confidence=0.5, num_resamples=20_000)
    scipy = stats.bootstrap((SAMPLE,), np.mean, method="percentile", n_resamples=20_000, confidence_level=0.5, rng=1)
    assert narrow["ci_high"] == pytest.approx(scipy.confidence_interval.high, abs=2e-3)


def test_grouped_equals_a_loop_over_patients():
    rng = np.random.default_rng(3)
    patients = np.repeat([f"p{i}" for i in range(15)], rng.integers(1, 9, size=15))
    values = np.array([rng.normal(loc=int(p[1:]) / 15, scale=0.05) for p in patients])

    means = []
    for _ in range(5000):
        drawn = rng.choice(np.unique(patients), size=15)
        means.append(np.concatenate([values[patients == p] for p in drawn]).mean())
    low, high = np.percentile(means, [2.5, 97.5])

    ours = summarize(values, patients, num_resamples=5000)
    assert ours["groups"] == 15
    assert ours["n"] == len(values)
    assert ours["ci_low"] == pytest.approx(low, abs=0.02)
    assert ours["ci_high"] == pytest.approx(high, abs=0.02)
    # Slices of a patient are alike here: taking them for independent would claim less than 2/3 of the true width.
    alone = summarize(values, num_resamples=5000)
    assert alone["ci_high"] - alone["ci_low"] < (high - low) * 2 / 3


def test_every_value_its_own_group_is_ungrouped():
    assert summarize(SAMPLE, range(40)) == summarize(torch.tensor(SAMPLE)) == summarize(list(SAMPLE))


def test_interval_covers_the_mean_as_often_as_it_claims():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(300):
        patient_means = rng.normal(size=25)
        values = np.repeat(patient_means, 4) + rng.normal(scale=0.3, size=100)
        interval = summarize(values, np.repeat(np.arange(25), 4), num_resamples=300, seed=trial)
        covered += interval["ci_low"] <= 0 <= interval["ci_high"]
    assert 0.88 < covered / 300 < 0.98  # percentile intervals of 25 units are a little narrow


def test_missing_values_and_few_units():
    assert summarize([np.nan, 0.5, 0.7], [1, 1, 2])["n"] == 2
    assert summarize([np.nan, 0.5, 0.7], [1, 2, 2])["groups"] == 1
    assert np.isnan(summarize([0.5, 0.7], ["a", "a"])["ci_low"])
    nothing = summarize([np.nan])
    assert nothing["n"] == 0
    assert np.isnan(nothing["mean"])


def test_errors():
    with pytest.raises(ValueError, match="2 groups for 3 values"):
        summarize([1, 2, 3], ["a", "b"])
    with pytest.raises(ValueError, match="95"):
        summarize([1, 2], confidence=95)
