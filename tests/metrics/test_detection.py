import builtins
import math
import sys

import numpy as np
import pytest

from monai_ext.errors import BundleError, DataError
from monai_ext.metrics import evaluate_detection

SHAPE = (6, 24, 24)


@pytest.fixture
def picai_eval(capsys):
    return pytest.importorskip("picai_eval", reason="picai_eval is not installed")


def volume(*boxes):
    """Boxes of 2 x 4 x 4 voxels: (place, value)."""
    array = np.zeros(SHAPE, np.float32)
    for place, value in boxes:
        z, y, x = place
        array[z : z + 2, y : y + 4, x : x + 4] = value
    return array


A, B, C = (1, 2, 2), (1, 12, 12), (3, 18, 4)


def few():
    """Two positives (three lesions), two negatives."""
    return [
        ("p1", volume((A, 0.9), (B, 0.2)), volume((A, 1), (C, 1))),
        ("p2", volume((B, 0.4)), volume((B, 1))),
        ("n1", volume((C, 0.5)), volume()),
        ("n2", volume(), volume()),
    ]


def random_cases(count=30, seed=0):
    rng = np.random.default_rng(seed)
    cases = []
    for i in range(count):
        truth = volume((A, 1)) if i % 3 == 0 else volume()
        place = A if i % 3 == 0 and rng.random() < 0.7 else B
        cases.append((f"case{i:02d}", volume((place, rng.random() * 0.5 + 0.5 * (place == A))), truth))
    return cases


def test_by_hand(picai_eval):
    result = evaluate_detection(few(), num_resamples=0)
    # Case scores .9 .4 against .5 0: three of four pairs in order.
    assert result.auroc.value == pytest.approx(3 / 4)
    # Candidates by confidence: .9 hit, .5 false, .4 hit, .2 false; one lesion missed. AP = 1/3 + 2/3 * 1/3.
    assert result.average_precision.value == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3)
    assert result.score.value == pytest.approx((result.auroc.value + result.average_precision.value) / 2)
    assert (result.num_cases, result.num_positives, result.num_lesions) == (4, 2, 3)
    assert result.case_scores == pytest.approx({"p1": 0.9, "p2": 0.4, "n1": 0.5, "n2": 0.0})
    assert result.case_labels == {"p1": 1, "p2": 1, "n1": 0, "n2": 0}
    assert result.froc[0][:3] == pytest.approx([0, 1 / 4, 1 / 4])
    assert result.froc[1][:3] == pytest.approx([1 / 3, 1 / 3, 2 / 3])
    assert result.roc[0][-1] == result.roc[1][-1] == 1
    assert result.notes == ()
    assert math.isnan(result.auroc.ci_low)


def test_equals_a_direct_call(picai_eval):
    cases = random_cases()
    direct = picai_eval.evaluate(
        [c[1] for c in cases], [c[2] for c in cases], subject_list=[c[0] for c in cases], num_parallel_calls=1
    )
    interval = direct.bootstrap_score_ci(n_bootstraps=100, seed=3)
    result = evaluate_detection((c for c in cases), num_resamples=100, seed=3)
    assert result.auroc.value == direct.auroc
    assert result.average_precision.value == direct.AP
    assert result.score.value == direct.score
    for name, estimate in (("auroc", result.auroc), ("ap", result.average_precision), ("score", result.score)):
        assert [estimate.ci_low, estimate.ci_high] == pytest.approx(interval[f"{name}_95_ci"].tolist())
        assert estimate.ci_low < estimate.value < estimate.ci_high
    assert result.roc == (direct.case_FPR.tolist(), direct.case_TPR.tolist())


def test_a_candidate_that_no_lesion_counts_still_scores_the_case(picai_eval):
    """Two candidates on one lesion: the second is no false positive, but its confidence is the case's."""
    truth = volume()
    truth[1:3, 2:6, 2:14] = 1
    found = volume((A, 0.3), ((1, 2, 8), 0.8))
    result = evaluate_detection([("p", found, truth), ("n", volume((B, 0.5)), volume())], num_resamples=0)
    assert result.case_scores["p"] == pytest.approx(0.8)
    assert result.auroc.value == 1


def test_edges_in_words(picai_eval):
    negatives = evaluate_detection([c for c in few() if c[0][0] == "n"])
    assert math.isnan(negatives.auroc.value)
    assert math.isnan(negatives.average_precision.value)
    assert "none of the 2 cases has a lesion" in negatives.notes[0]
    positives = evaluate_detection([c for c in few() if c[0][0] == "p"])
    assert math.isnan(positives.auroc.value)
    assert math.isnan(positives.score.value)
    assert 0 < positives.average_precision.value < 1
    assert "all 2 cases have a lesion" in positives.notes[0]
    small = evaluate_detection(few(), num_resamples=50)
    assert "resamples lacked a class" in small.notes[0]
    assert small.auroc.ci_low <= small.auroc.ci_high
    nothing = evaluate_detection([("p", volume(), volume((A, 1))), ("n", volume(), volume())], num_resamples=0)
    assert nothing.auroc.value == 0.5
    assert nothing.average_precision.value == 0
    assert not any(math.isinf(x) for x in negatives.froc[0] + small.froc[0] + nothing.froc[0])


def test_patients_are_resampled_whole(picai_eval):
    """Ten copies of each case hold no more information than one: resampling patients does not narrow the interval."""
    cases = random_cases(15)
    many = [(f"{c[0]}-{k}", c[1], c[2]) for c in cases for k in range(4)]
    patients = {name: name.split("-")[0] for name, *_ in many}
    one = evaluate_detection(cases, num_resamples=200).auroc
    by_patient = evaluate_detection(many, patients, num_resamples=200).auroc
    by_case = evaluate_detection(many, num_resamples=200).auroc
    assert by_patient.ci_high - by_patient.ci_low == pytest.approx(one.ci_high - one.ci_low, rel=0.2)
    assert by_case.ci_high - by_case.ci_low < 0.75 * (one.ci_high - one.ci_low)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (("x", np.random.default_rng(0).random(SHAPE), volume()), "probability map"),
        (("x", volume()[:-1], volume()), "differ in shape"),
        (("x", volume((A, -0.5)), volume()), "negative"),
        (("x", volume((A, np.nan)), volume()), "finite"),
        (("x", volume(), volume((A, 3))), r"label holds \[3"),
        (("p1", volume(), volume()), "twice"),
    ],
)
def test_bad_cases_are_named(picai_eval, case, words):
    with pytest.raises(DataError, match=f"case {case[0]}: .*{words}"):
        evaluate_detection([*few(), case])


def test_no_case(picai_eval):
    with pytest.raises(DataError, match="no case"):
        evaluate_detection([])


def test_without_the_package(monkeypatch):
    real = builtins.__import__

    def fail(name, *args, **kwargs):
        if name.split(".")[0] == "picai_eval":
            raise ModuleNotFoundError("No module named 'picai_eval'")
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "picai_eval", raising=False)
    monkeypatch.setattr(builtins, "__import__", fail)
    with pytest.raises(BundleError, match="pip install picai_eval"):
        evaluate_detection(few())


def test_import_is_silent(picai_eval, capsys):
    evaluate_detection(few(), num_resamples=0)
    assert capsys.readouterr().out == ""


def test_report_form(picai_eval):
    content = evaluate_detection(few(), num_resamples=0).as_dict()
    assert content["auroc"]["value"] == pytest.approx(0.75)
    assert content["num_lesions"] == 3
