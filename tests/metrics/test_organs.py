import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from monai_ext.metrics import OrganMetrics, class_dice, summarize, surface_dice

AFFINE = torch.diag(torch.tensor([1.5, 2.0, 3.0, 1.0]))
ORGANS = ["liver", "spleen", "kidney"]


def maps(seed, absent=()):
    """Blocks of three organs, and the same moved by a voxel."""
    rng = np.random.default_rng(seed)
    truth = torch.zeros(1, 20, 18, 16, dtype=torch.uint8)
    for value, x in ((1, 1), (2, 7), (3, 13)):
        if value not in absent:
            truth[:, x : x + 5, 3 : 9 + rng.integers(4), 2:11] = value
    return truth.roll(int(rng.integers(1, 3)), 2), MetaTensor(truth, affine=AFFINE)


@pytest.mark.parametrize("seed", range(3))
def test_dice_class_by_class(seed):
    generator = torch.Generator().manual_seed(seed)
    pred, truth = (torch.randint(5, (6, 5, 4), generator=generator) for _ in range(2))
    truth[truth == 3] = 0
    for value, found in enumerate(class_dice(pred, truth, 5), start=1):
        p, t = pred == value, truth == value
        due = 2 * (p & t).sum() / (p.sum() + t.sum()) if t.any() else torch.tensor(torch.nan)
        torch.testing.assert_close(found, due.float(), equal_nan=True)


def test_means_over_the_organs_a_patient_has_then_over_patients():
    metric = OrganMetrics(ORGANS, tolerance=2.0).metric
    rows = {"dice": [], "nsd": []}
    for seed, absent in enumerate([(), (2,), (1, 3)]):
        pred, truth = maps(seed, absent)
        metric([pred], [truth])
        rows["dice"].append(class_dice(pred, torch.as_tensor(truth), 4))
        whole = [surface_dice(pred == v, torch.as_tensor(truth) == v, (1.5, 2, 3), 2.0)[0] for v in (1, 2, 3)]
        rows["nsd"].append(torch.stack(whole))
    summary = metric.summary()
    assert len(summary) == 8
    for kind in rows:
        table = torch.stack(rows[kind])
        assert summary[kind] == summarize(table.nanmean(1))
        assert summary[kind]["n"] == 3
        for i, organ in enumerate(ORGANS):
            assert summary[f"{kind}_{organ}"] == summarize(table[:, i])
        assert summary[f"{kind}_spleen"]["n"] == 2
        assert 0 < summary[kind]["mean"] < 1
    assert metric.aggregate().item() == pytest.approx(summary["dice"]["mean"])


def test_perfect_and_empty_predictions():
    for wrong, due in ((False, 1.0), (True, 0.0)):
        metric, (_, truth) = OrganMetrics(ORGANS).metric, maps(0)
        metric([torch.zeros_like(torch.as_tensor(truth)) if wrong else torch.as_tensor(truth)], [truth])
        assert set(metric.results().values()) == {due}


def test_handler_writes_the_key_value_and_the_others():
    engine = Engine(lambda engine, batch: batch)
    OrganMetrics(ORGANS, surface=False).attach(engine, "val_dice")
    pred, truth = maps(0)
    engine.run([([pred], [truth])])
    assert engine.state.metrics.keys() == {"val_dice", "dice", "dice_liver", "dice_spleen", "dice_kidney"}
    assert engine.state.metrics["val_dice"] == pytest.approx(engine.state.metrics["dice"])


def test_what_is_refused():
    pred, truth = maps(0)
    with pytest.raises(ValueError, match="voxel size"):
        OrganMetrics(ORGANS).metric([pred], [truth.as_tensor()])
    with pytest.raises(ValueError, match="label maps"):
        OrganMetrics(ORGANS).metric([pred.expand(4, -1, -1, -1)], [truth])
