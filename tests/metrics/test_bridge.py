import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import DataLoader, MetaTensor, decollate_batch
from monai.handlers import from_engine

from monai_ext.metrics import CaseBridge, CaseTable, summarize


def cases(count: int = 3, classes: int = 2) -> list[dict[str, MetaTensor]]:
    generator = torch.Generator().manual_seed(0)
    found = []
    for n in range(count):
        affine = torch.diag(torch.tensor([-1.0 - n, 2.0, 0.5, 1.0]))  # another voxel size for each case
        pred, label = (torch.randint(classes, (1, 6, 6, 6), generator=generator) for _ in range(2))
        found.append(
            {"pred": MetaTensor(pred.float(), affine=affine), "label": MetaTensor(label.float(), affine=affine)}
        )
    return found


def measure(pred, truth, spacing):
    """Two rows for a case: difference and, in mm, what a voxel measures."""
    gap = (pred - truth).abs().mean()
    return torch.stack([gap, gap.new_tensor(float(np.prod(spacing or 1)))])[None].repeat(2, 1)


def columns(rows, case):
    return {"gap": (rows[:, 0], case), "mm": (rows[:, 1], case)}


def test_collated_batch_equals_list():
    lists, batches = (CaseTable(measure, columns, 2) for _ in range(2))
    lists([c["pred"] for c in cases()], [c["label"] for c in cases()])
    for batch in DataLoader(cases(), batch_size=3):
        batches(batch["pred"], batch["label"])
    for name, values in lists.values().items():
        assert torch.equal(values, batches.values()[name])
    assert lists.values()["mm"].tolist() == [1, 1, 2, 2, 3, 3]
    assert lists.get_buffer()[:, 0].tolist() == batches.get_buffer()[:, 0].tolist() == [0, 0, 1, 1, 2, 2]


def test_intervals_resample_cases_or_patients():
    table = CaseTable(measure, columns, 2)
    table([c["pred"] for c in cases(4)], [c["label"] for c in cases(4)])
    values = table.values()["gap"]
    assert table.summary()["gap"] == summarize(values, [0, 0, 1, 1, 2, 2, 3, 3])
    table.names = [("c1", "a"), ("c2", "a"), ("c3", "b"), ("c4", "b")]
    assert table.summary()["gap"] == summarize(values, list("aaaabbbb"))
    assert table.summary()["gap"]["groups"] == 2
    rows = table.by_case()
    assert [(row["case"], row["patient"]) for row in rows] == table.names
    assert [row["gap"] for row in rows] == pytest.approx(values.reshape(4, 2).nanmean(1).tolist())
    table.reset()
    assert table.names == []
    assert table.summary()["gap"]["n"] == 0


def test_key_metric_of_several_names_is_their_mean():
    table = CaseTable(measure, columns, 2, num_keys=2)
    table([c["pred"] for c in cases()], [c["label"] for c in cases()])
    assert table.aggregate() == pytest.approx(torch.cat(list(table.values().values())).mean().item())


def test_evaluator_gets_key_value_and_all_others():
    engine = Engine(lambda _, batch: decollate_batch(batch))
    bridge = CaseBridge(CaseTable(measure, columns, 2), from_engine(["pred", "label"]))
    bridge.attach(engine, "val")
    for _ in range(2):  # the second run starts afresh
        state = engine.run(DataLoader(cases(), batch_size=2))
        assert state.metrics.keys() == {"val", "gap", "mm"}
        assert state.metrics["val"] == pytest.approx(bridge.metric.results()["gap"])
        assert state.metrics["mm"] == 2
        assert state.metric_details["val"].shape == (6, 3)


def test_label_is_needed():
    with pytest.raises(ValueError, match="label"):
        CaseTable(measure, columns, 2)(torch.zeros(1, 1, 4, 4, 4))
