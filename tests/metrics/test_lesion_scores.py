import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.handlers import from_engine

from monai_ext.metrics import LesionScores, dice, false_negative_volume, false_positive_volume

SPACING = (2.0, 2.0, 3.0)


def case(seed, lesion=True, found=True):
    """A prediction and a label of scattered blocks, [1, 12, 12, 12]."""
    rng = np.random.default_rng(seed)
    pred, truth = (np.kron(rng.random((6, 6, 6)) < 0.08, np.ones((2, 2, 2))) for _ in range(2))
    label = MetaTensor(torch.tensor(truth[None] * lesion), affine=torch.diag(torch.tensor([*SPACING, 1.0])))
    return torch.tensor(pred[None] * found), label


CASES = [case(0), case(1), case(2, lesion=False), case(3, found=False), case(4, lesion=False, found=False)]


def expected():
    rows = []
    for pred, label in CASES:
        truth = label.as_tensor()
        empty = not truth.any()
        rows.append(
            [
                np.nan if empty else dice(pred, truth).item(),
                np.nan if empty else false_negative_volume(pred, truth, SPACING).item(),
                false_positive_volume(pred, truth, SPACING).item(),
            ]
        )
    return np.array(rows)


def test_values_and_policy_of_empty_masks():
    metric = LesionScores().metric
    for pred, label in CASES:
        metric([pred], [label])
    rows = torch.stack(list(metric.values().values()), 1)
    assert list(metric.values()) == ["dice", "fnv_ml", "fpv_ml"]
    np.testing.assert_allclose(rows.numpy(), expected(), rtol=1e-5)
    assert rows[2, :2].isnan().all()  # no lesion: only FPV counts
    assert rows[2, 2] > 0
    assert rows[3].tolist()[::2] == [0, 0]  # nothing found: Dice 0, FPV 0, all volume is missed
    assert rows[3, 1] == pytest.approx(float(CASES[3][1].sum()) * 0.012)
    assert rows[4, 2] == 0
    summary = metric.summary()
    assert {name: row["n"] for name, row in summary.items()} == {"dice": 3, "fnv_ml": 3, "fpv_ml": 5}
    assert summary["fpv_ml"]["mean"] == pytest.approx(np.nanmean(expected()[:, 2]))
    assert metric.aggregate().item() == pytest.approx(summary["dice"]["mean"])


def test_handler_groups_patients():
    batches = [{"id": f"study{i}", "patient": f"p{i // 2}", "pred": p, "label": y} for i, (p, y) in enumerate(CASES)]

    def step(engine, batch):
        engine.state.batch = [batch]
        return [batch]

    engine = Engine(step)
    handler = LesionScores(from_engine(["pred", "label"]))
    handler.attach(engine, "val_dice")
    engine.run(batches)
    engine.run(batches)  # as validation does, epoch after epoch
    mean = np.nanmean(expected(), axis=0)
    means = {"val_dice": mean[0], "dice": mean[0], "fnv_ml": mean[1], "fpv_ml": mean[2]}
    assert engine.state.metrics == pytest.approx(means)
    assert handler.metric.summary()["fpv_ml"]["groups"] == 3
    rows = handler.metric.by_case()
    assert [(row["case"], row["patient"]) for row in rows] == [(f"study{i}", f"p{i // 2}") for i in range(5)]
    found = [[row[name] for name in ("dice", "fnv_ml", "fpv_ml")] for row in rows]
    np.testing.assert_allclose(found, expected(), rtol=1e-5)


def test_needs_the_spacing():
    with pytest.raises(ValueError, match="spacing"):
        LesionScores().metric([CASES[0][0]], [CASES[0][1].as_tensor()])
