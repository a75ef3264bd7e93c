"""Detection over patients and draws, beside picai_eval, whose values of a set and of a resample these are."""

import math

import numpy as np
import pytest
from picai_eval.metrics import Metrics

from monai_ext.metrics import summarize_detections
from monai_ext.metrics.crossed import draw_counts
from monai_ext.metrics.crossed_detection import _values, read_candidates, write_candidates


def run_of(rng, patients=12, cases=1, shift=0.0):
    """Candidates with ties, cases without any, and lesions that no candidate has found."""
    found = {}
    for number in range(patients):
        found[f"p{number}"] = []
        for _ in range(cases):
            count = int(rng.integers(0, 4)) if number % 3 else 0
            lesions = rng.random(count) < 0.4
            sure = np.round(np.clip(rng.random(count) + shift * lesions, 0, 1), 1)
            found[f"p{number}"].append([(bool(lesion), float(c)) for lesion, c in zip(lesions, sure)])
    found["p1"][0] += [(True, 0.0)]
    return found


def by_picai(run, drawn=None):
    cases = {f"{patient}/{n}": case for patient, cases in run.items() for n, case in enumerate(cases)}
    results = {name: [(int(lesion), sure, 0.5) for lesion, sure in case] for name, case in cases.items()}
    metrics = Metrics(lesion_results=results)
    if drawn is None:
        return metrics.auroc, metrics.AP
    subjects = [name for patient in drawn for name in results if name.split("/")[0] == patient]
    return metrics.calc_auroc(subjects), metrics.calc_AP(subjects)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("cases", [1, 2])
def test_values_are_those_of_picai_eval(seed, cases):
    run = run_of(np.random.default_rng(seed), cases=cases)
    found = summarize_detections([[run]], num_resamples=0)
    auroc, ap = by_picai(run)
    assert found["auroc"]["mean"] == pytest.approx(auroc)
    assert found["ap"]["mean"] == pytest.approx(ap)
    assert found["score"]["mean"] == pytest.approx((auroc + ap) / 2)


def test_a_resample_is_the_set_with_patients_repeated():
    rng = np.random.default_rng(3)
    run = run_of(rng, patients=15, cases=2)
    [weights] = draw_counts(3, (15,), 20)
    values = _values(list(run.values()), weights)
    for weight, (auroc, ap, _) in zip(weights, values):
        drawn = [patient for patient, times in zip(run, weight) for _ in range(int(times))]
        assert (auroc, ap) == (pytest.approx(by_picai(run, drawn)[0]), pytest.approx(by_picai(run, drawn)[1]))


def test_two_methods_are_compared_on_the_same_resamples():
    rng = np.random.default_rng(0)
    weak = run_of(rng, patients=40)
    strong = {
        patient: [[(lesion, min(1.0, c + 0.3 * lesion)) for lesion, c in case] for case in cases]
        for patient, cases in weak.items()
    }
    same = summarize_detections([[weak, weak]], [[weak]])
    assert all(value["mean"] == value["ci_low"] == value["ci_high"] == 0 for value in same.values())
    gain = summarize_detections([[strong]], [[weak]])["ap"]
    alone = [summarize_detections([[run]])["ap"] for run in (strong, weak)]
    assert gain["mean"] == pytest.approx(alone[0]["mean"] - alone[1]["mean"])
    assert gain["ci_low"] > 0
    assert gain["ci_high"] - gain["ci_low"] < max(one["ci_high"] - one["ci_low"] for one in alone)


def test_seeds_are_averaged_and_draws_resampled():
    rng = np.random.default_rng(1)
    runs = [run_of(rng, patients=30, shift=0.2 * n) for n in range(4)]
    of_runs = [summarize_detections([[run]], num_resamples=0)["ap"]["mean"] for run in runs]
    two_draws = summarize_detections([runs[:2], runs[2:]])
    assert two_draws["ap"]["mean"] == pytest.approx(np.mean(of_runs))
    assert two_draws["ap"]["draws"] == 2
    one_draw = summarize_detections([runs])
    width = [found["ap"]["ci_high"] - found["ap"]["ci_low"] for found in (two_draws, one_draw)]
    assert width[0] > width[1]


def test_what_is_not_defined_is_nan():
    healthy = {"a": [[(False, 0.3)]], "b": [[]]}
    found = summarize_detections([[healthy]])
    assert all(math.isnan(value["mean"]) for value in found.values())
    ill = {"a": [[(True, 0.3)]], "b": [[(True, 0.2)]]}
    found = summarize_detections([[ill]])
    assert math.isnan(found["auroc"]["mean"])
    assert found["ap"]["mean"] == 1.0
    assert summarize_detections([])["ap"]["patients"] == 0


def test_candidates_are_written_and_read():
    case = [(True, 0.5), (False, 0.25), (True, 0.0)]
    assert read_candidates(write_candidates(case)) == case
    assert read_candidates(write_candidates([])) == []
