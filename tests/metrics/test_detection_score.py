from types import SimpleNamespace

import numpy as np
import pytest
import torch

from monai_ext.metrics import DetectionScore, evaluate_detection, lesion_candidates, summarize_detections
from monai_ext.metrics.crossed_detection import read_candidates

pytest.importorskip("picai_eval")


def cases():
    rng = np.random.default_rng(0)
    found = []
    for number in range(8):
        label = torch.zeros(1, 20, 20, 8)
        probability = torch.from_numpy(0.2 * rng.random((1, 20, 20, 8)).astype(np.float32))
        if number % 2:
            label[0, 4:9, 5:10, 2:5] = 1
            if number != 3:  # one lesion is missed
                probability[0, 4:9, 5:10, 2:5] = 0.5 + 0.05 * number
        if number == 4:  # and one is invented
            probability[0, 12:16, 12:16, 3:6] = 0.6
        found.append({"pred": probability, "label": label, "id": f"c{number}", "patient": f"p{number}"})
    return found


def test_equals_a_direct_call_and_gives_the_report():
    score = DetectionScore(num_resamples=50)
    score.update(cases()[:3])
    score.update(cases()[3:])
    value = score.compute()
    direct = evaluate_detection(
        ((c["id"], lesion_candidates(c["pred"][0])[0], c["label"][0]) for c in cases()), num_resamples=50
    )
    assert value == direct.score.value == (direct.auroc.value + direct.average_precision.value) / 2
    assert 0.3 < value < 1
    rows = score.summary()
    assert {name: rows[name]["n"] for name in rows} == {"auroc": 8, "ap": 4, "score": 8}
    assert rows["auroc"]["ci_low"] <= rows["auroc"]["mean"] <= rows["auroc"]["ci_high"]
    lines = {str(line["case"]): line for line in score.by_case()}
    assert lines["c1"]["patient"] == "p1"
    assert str(lines["c1"]["candidates"]).startswith("1:0.55 0:0.0")
    assert "1:0" in str(lines["c3"]["candidates"]).split()  # missed
    run = {line["patient"]: [read_candidates(line["candidates"])] for line in lines.values()}
    again = summarize_detections([[run]], num_resamples=0)
    assert again["score"]["mean"] == pytest.approx(value, abs=1e-6)
    assert score.details["num_positives"] == 4


def test_batch_and_output_of_an_evaluator():
    score = DetectionScore()
    batch = [{"id": c["id"], "patient": c["patient"]} for c in cases()]
    output = [{"pred": c["pred"], "label": c["label"]} for c in cases()]
    score.iteration_completed(SimpleNamespace(state=SimpleNamespace(batch=batch, output=output)))
    score.compute()
    assert set(score.details["case_scores"]) == {c["id"] for c in cases()}


def test_without_negatives_the_value_is_ap_and_without_lesions_nan():
    score = DetectionScore()
    score.update(cases()[1::2])
    assert score.compute() == score.detection.average_precision.value
    assert "all 4 cases have a lesion" in score.details["notes"][0]
    score.reset()
    score.update(cases()[::2])
    assert np.isnan(score.compute())
    score.reset()
    assert np.isnan(score.compute())
