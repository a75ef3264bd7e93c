import math

import numpy as np
import pytest
import torch
from monai.data import DataLoader, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.handlers import from_engine
from scipy.ndimage import binary_erosion
from torch import nn

from monai_ext.metrics import CaseMetrics, PerCase, dice

SPACING = (2.0, 2.0, 5.0)


def volume(*boxes, shape=(50, 40, 8)):
    mask = np.zeros(shape, dtype=np.uint8)
    for box in boxes:
        mask[box] = 1
    return mask


CASES = {
    "hit": (volume(np.s_[10:20, 10:20, 2:6]), volume(np.s_[12:20, 10:20, 2:5])),
    "false positive elsewhere": (volume(np.s_[10:20, 10:20, 2:4]), volume(np.s_[10:20, 10:20, 2:7])),
    "missed": (volume(np.s_[5:9, 5:9, 1:3]), volume()),
    "healthy": (volume(), volume()),
    "healthy, alarm": (volume(), volume(np.s_[1:3, 1:3, 1:2])),
}


@pytest.fixture
def metric():
    found = CaseMetrics().metric
    for truth, pred in CASES.values():
        label = MetaTensor(torch.tensor(truth)[None], affine=torch.diag(torch.tensor([*SPACING, 1.0])))
        found([torch.tensor(pred)[None]], [label])
    return found


def test_values_are_those_of_the_formulas(metric):
    values = {name: value.numpy() for name, value in metric.values().items()}
    nan = float("nan")
    t, p = 10 * 10 * 4, 8 * 10 * 3
    expected = {
        "dice": [2 * p / (t + p), 2 * 200 / (200 + 500), 0, nan, nan],
        "sensitivity": [p / t, 1, 0, nan, nan],
        "dice_all_scans": [2 * p / (t + p), 4 / 7, 0, 1, 0],
        "dice_lesion_slices": [2 * p / (t + p), 1, 0, nan, nan],
    }
    for name, numbers in expected.items():
        np.testing.assert_allclose(values[name], numbers, atol=1e-6, err_msg=name)
    # 2 % of the diagonal of 50 x 40 pixels is 1 pixel; the rims by SciPy, slice by slice.
    rims = [m & ~binary_erosion(m, np.ones((3, 3, 1))) for m in (CASES["hit"][0] > 0, CASES["hit"][1] > 0)]
    assert values["boundary_iou"][0] == pytest.approx((rims[0] & rims[1]).sum() / (rims[0] | rims[1]).sum())
    # The last slice lies 5 mm from the prediction, its border more: the 95th percentile is that of one slice away.
    assert values["hausdorff95_mm"][0] == pytest.approx(math.hypot(5, 4), abs=1.5)
    assert np.isnan(values["hausdorff95_mm"][2:]).all()
    diagonal = math.hypot(50 * 2, 40 * 2, 8 * 5)
    np.testing.assert_allclose(values["hausdorff95_penalized_mm"][2:], [diagonal, nan, diagonal], rtol=1e-6)


def test_summary_says_how_many_cases_count(metric):
    summary = metric.summary()
    assert [summary[name]["n"] for name in metric.values()] == [3, 3, 3, 2, 4, 5, 3]
    assert summary["dice"]["mean"] == pytest.approx(metric.aggregate().item())
    assert summary["dice"]["ci_low"] < summary["dice"]["mean"] < summary["dice"]["ci_high"]
    assert metric.results()["dice_all_scans"] == pytest.approx((240 * 2 / 640 + 4 / 7 + 1) / 5)


def test_several_classes_have_a_column_each():
    metric = CaseMetrics(metrics={"dice": PerCase(dice, num_classes=3), "any": PerCase(dice)}).metric
    truth = torch.tensor([[[[0, 1, 1, 2]]]])
    metric([torch.tensor([[[0, 1, 2, 2]]])], list(truth))
    assert {k: round(v.item(), 4) for k, v in metric.values().items()} == {"dice_1": 0.6667, "dice_2": 0.6667, "any": 1}
    assert metric.aggregate().item() == pytest.approx(2 / 3)


def test_no_case_at_all_is_undefined():
    metric = CaseMetrics().metric
    assert metric.summary()["dice"]["n"] == 0


def test_handler_writes_all_metrics_of_an_evaluation():
    class Identity(nn.Module):
        def forward(self, x):
            return x

    items = [
        {"image": torch.tensor(pred)[None].float(), "label": MetaTensor(torch.tensor(truth)[None])}
        for truth, pred in CASES.values()
    ]
    handler = CaseMetrics(from_engine(["pred", "label"]))
    evaluator = SupervisedEvaluator("cpu", DataLoader(items), Identity(), key_val_metric={"val_dice": handler})
    evaluator.run()
    assert evaluator.state.metrics["val_dice"] == pytest.approx((0.75 + 4 / 7 + 0) / 3)
    assert evaluator.state.metrics["sensitivity"] == pytest.approx((0.6 + 1 + 0) / 3)
