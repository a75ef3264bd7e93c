import math

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from ignite.engine import Engine
from monai.handlers import from_engine
from sklearn.metrics import f1_score, jaccard_score

from monai_ext.metrics import SliceDice


def volumes(seed: int = 0) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Three volumes [1, 6, 5, Z] of different depth with empty slices on either side; the last one holds no lesion."""
    generator = torch.Generator().manual_seed(seed)
    preds, truths = [], []
    for depth, lesion in ((7, True), (9, True), (4, False)):
        pred, truth = (torch.rand(1, 6, 5, depth, generator=generator) < 0.3 for _ in range(2))
        truth[..., [0, depth - 1]] = False
        pred[..., [0, 2]] = False
        preds.append(pred.float())
        truths.append((truth & torch.tensor(lesion)).float())
    return preds, truths


def reference(preds: list[torch.Tensor], truths: list[torch.Tensor]) -> dict[str, float]:
    """Slice by slice with scikit-learn."""
    found: dict[str, list[float]] = {}
    for pred, truth in zip(preds, truths):
        pairs = [("slices", truth[..., z], pred[..., z]) for z in range(truth.shape[-1])] + [("volumes", truth, pred)]
        for kind, t, p in pairs:
            t, p = t.numpy().ravel().astype(int), p.numpy().ravel().astype(int)
            for name, score in (("dice", f1_score), ("iou", jaccard_score)):
                value = score(t, p, zero_division=1.0 if not (t.any() or p.any()) else 0.0)
                if t.any():
                    found.setdefault(f"{name}_lesion_{kind}", []).append(value)
                if kind == "slices":
                    found.setdefault(f"{name}_all_slices", []).append(value)
    counts = {k.replace("dice", "n"): len(v) for k, v in found.items() if "dice" in k}
    return {k: float(np.mean(v)) for k, v in found.items()} | counts


def test_equals_scikit_learn_slice_by_slice():
    preds, truths = volumes()
    metric = SliceDice().metric
    metric(preds[:2], truths[:2])
    metric(preds[2][None], truths[2][None])
    assert metric.results() == pytest.approx(reference(preds, truths), abs=1e-6)
    assert metric.aggregate().item() == pytest.approx(metric.results()["dice_lesion_volumes"])
    assert metric.results()["n_all_slices"] == 20
    assert metric.results()["n_lesion_volumes"] == 2


def test_forms_and_slice_axis():
    preds, truths = volumes()
    plain = SliceDice().metric
    plain(preds, truths)
    turned = SliceDice(slice_dim=1).metric
    one_hot = [torch.cat([1 - p, p]) for p in preds]
    turned([p.transpose(1, 3) for p in one_hot], [t.transpose(1, 3) for t in truths])
    assert turned.results() == pytest.approx(plain.results(), nan_ok=True)


def test_interval_resamples_volumes():
    metric = SliceDice().metric
    metric(*volumes())
    summary = metric.summary(num_resamples=200)
    assert summary["dice_lesion_slices"]["groups"] == 2
    assert summary["dice_all_slices"]["groups"] == 3
    assert summary["dice_all_slices"]["n"] == 20
    assert summary["iou_all_slices"]["mean"] == pytest.approx(metric.results()["iou_all_slices"], abs=1e-6)


def test_in_an_evaluator():
    preds, truths = volumes()
    batches = [[{"pred": p, "label": t}] for p, t in zip(preds, truths)]
    engine = Engine(lambda _, batch: batch)
    SliceDice(output_transform=from_engine(["pred", "label"])).attach(engine, "val_dice")
    for _ in range(2):  # the second run starts afresh
        state = engine.run(batches)
        expected = reference(preds, truths)
        assert state.metrics["val_dice"] == pytest.approx(expected["dice_lesion_volumes"], abs=1e-6)
        assert {k: state.metrics[k] for k in expected} == pytest.approx(expected, abs=1e-6)
        assert state.metric_details["val_dice"].shape == (20, 4)


def share_of_a_process(rank: int, meeting_point: str, result: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting_point}", rank=rank, world_size=2)
    metric = SliceDice().metric
    for pred, truth in list(zip(*volumes()))[rank::2]:  # two volumes here, one there
        metric([pred], [truth])
    results = metric.results()
    if rank == 0:
        torch.save(results, result)
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_agree_with_one(tmp_path):
    files = str(tmp_path / "meeting_point"), str(tmp_path / "results")
    mp.start_processes(share_of_a_process, files, nprocs=2, start_method="fork")
    assert torch.load(files[1]) == pytest.approx(reference(*volumes()), abs=1e-6)


def test_no_lesion_at_all():
    metric = SliceDice().metric
    metric(torch.zeros(1, 1, 4, 4, 3), torch.zeros(1, 1, 4, 4, 3))
    assert math.isnan(metric.aggregate())
    assert metric.results()["dice_all_slices"] == 1
    assert metric.results()["n_lesion_slices"] == 0


@pytest.mark.parametrize("shape", [(1, 1, 4, 4), (1, 1, 4, 4, 2)])
def test_rejects_slices_and_other_sizes(shape):
    with pytest.raises(ValueError, match=r"\(1, 4, 4, 3\)"):
        SliceDice().metric(torch.zeros(1, 1, 4, 4, 3), torch.zeros(shape))
