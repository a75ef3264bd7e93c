import pytest
import torch
from ignite.engine import Engine
from monai.data import DataLoader, MetaTensor, decollate_batch
from monai.handlers import IgniteMetricHandler, from_engine
from monai.metrics import DiceMetric

from monai_ext.metrics import PerCase, dice, false_positive_volume, hausdorff95


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


def test_spacing_of_each_case_in_an_evaluator():
    metric = PerCase(hausdorff95, penalize_missing=True)
    engine = Engine(lambda _, batch: decollate_batch(batch))
    IgniteMetricHandler(metric, output_transform=from_engine(["pred", "label"])).attach(engine, "hd95")
    state = engine.run(DataLoader(cases(), batch_size=2))
    expected = [hausdorff95(c["pred"], c["label"], (1 + n, 2, 0.5)).item() for n, c in enumerate(cases())]
    assert metric.values()[:, 0].tolist() == pytest.approx(expected)
    assert state.metrics["hd95"] == pytest.approx(sum(expected) / 3)


def test_collated_batch_equals_list():
    lists, batches = PerCase(false_positive_volume), PerCase(false_positive_volume)
    lists([c["pred"] for c in cases()], [c["label"] for c in cases()])
    for batch in DataLoader(cases(), batch_size=3):
        batches(batch["pred"], batch["label"])
    assert torch.equal(lists.values(), batches.values())


def test_each_class_equals_monai():
    data = cases(classes=4)
    ours, monai = PerCase(dice, num_classes=4, only_lesions=True), DiceMetric(include_background=False, num_classes=4)
    preds, labels = ([c[key].as_tensor() for c in data] for key in ("pred", "label"))
    ours(preds, labels)
    monai(preds, labels)
    torch.testing.assert_close(ours.values(), monai.get_buffer())
    torch.testing.assert_close(ours.aggregate(), monai.aggregate()[0])


def test_undefined_cases_leave_the_mean():
    metric = PerCase(dice, only_lesions=True)
    metric(torch.ones(2, 1, 4, 4), torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4)]))
    assert metric.values().isnan().tolist() == [[True], [False]]
    assert metric.aggregate() == 1


def test_spacing_must_be_known():
    with pytest.raises(ValueError, match="MetaTensor"):
        PerCase(hausdorff95)(torch.ones(1, 1, 4, 4, 4), torch.ones(1, 1, 4, 4, 4))
