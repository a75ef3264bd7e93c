import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from monai_ext.metrics import ClickScores, LesionScores


def case(seed, empty=False):
    generator = np.random.default_rng(seed)
    label = torch.from_numpy((generator.random((1, 12, 10, 8)) < 0.02).astype(np.float32)) * (not empty)
    masks = torch.from_numpy((generator.random((4, 12, 10, 8)) < 0.03).astype(np.uint8))
    return masks, MetaTensor(label, affine=torch.diag(torch.tensor([2.0, 3, 4, 1])))


def run(metric, cases):
    evaluator = Engine(lambda engine, batch: ([batch[0]], [batch[1]]))
    metric.attach(evaluator, "mean")
    return evaluator.run(cases).metrics


def test_each_number_of_clicks_is_scored_as_a_run_of_its_own():
    cases = [case(0), case(1), case(2, empty=True)]
    found = run(ClickScores(max_clicks=3), cases)
    for number in range(4):
        alone = run(LesionScores(), [(masks[number : number + 1], label) for masks, label in cases])
        for name in ("dice", "fnv_ml", "fpv_ml"):
            assert found[f"{name}_{number}"] == pytest.approx(alone[name])
    assert found["mean"] == pytest.approx(np.mean([found[f"dice_{number}"] for number in range(4)]))


def test_another_number_of_masks_is_refused():
    with pytest.raises(ValueError, match=r"need 3 masks.*\(4, 12, 10, 8\)"):
        run(ClickScores(max_clicks=2), [case(0)])
