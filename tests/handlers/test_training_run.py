"""The order of what a training does, and what it leaves behind, on the first process and on the others."""

import json

import pytest
import torch
from monai.transforms import Lambdad
from torch import nn

from monai_ext import bundle
from monai_ext.data.io.record import metrics_behind, read_record
from monai_ext.engines.segmentation import SegmentationEvaluator, SegmentationTrainer
from monai_ext.errors import TrainingError
from monai_ext.handlers import Checkpoints, LearningRate, NaNGuard, Progress, RunReport, TrainingRun, training_run
from monai_ext.metrics import summarize
from monai_ext.networks import read_checkpoint

RECORD = {"settings": {"lr": 0.1}, "data": "abc"}


class Score:
    """A key metric that takes given values, one per validation."""

    def __init__(self, values):
        self.values = list(values)

    def attach(self, engine, name):
        def compute(engine):
            engine.state.metrics[name] = self.values.pop(0)

        engine.add_event_handler("EPOCH_COMPLETED", compute)


def make(folder, epochs=3, scores=None, rank=0, rate=None, loss=None, **options):
    """A trainer of three steps per epoch with a :class:`TrainingRun`, and its evaluator."""
    torch.manual_seed(0)
    network = nn.Conv2d(1, 1, 1)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    items = [{"image": torch.full((1, 1, 2, 2), float(i)), "label": torch.ones(1, 1, 2, 2)} for i in range(3)]
    evaluator = None
    if scores is not None:
        case = [{"image": torch.ones(1, 2, 2), "label": torch.ones(1, 2, 2)}]
        evaluator = SegmentationEvaluator(
            torch.device("cpu"), case, network, postprocessing=Lambdad("pred", lambda pred: pred)
        )
        Score(scores).attach(evaluator, "score")
        evaluator.state.key_metric_name = "score"
        evaluator.add_event_handler("EPOCH_COMPLETED", lambda engine: compare(engine))
    trainer = SegmentationTrainer(torch.device("cpu"), epochs, items, network, optimizer, loss or nn.MSELoss())
    trainer.state.rank = rank
    run = TrainingRun(
        "training", str(folder), str(folder / "model.pt"), lr_scheduler=rate, evaluator=evaluator, **options
    )
    run.attach(trainer)
    return trainer, evaluator


def compare(engine):
    """The best epoch so far, as MONAI's evaluator notes it."""
    state = engine.state
    if state.best_metric_epoch == -1 or state.metrics["score"] > state.best_metric:
        state.best_metric, state.best_metric_epoch = state.metrics["score"], state.epoch


@pytest.fixture
def record(monkeypatch):
    monkeypatch.setattr(bundle, "_record", RECORD)


@pytest.fixture
def calls(monkeypatch):
    """Names of what is called, in the order of the calls."""
    found = []

    def note(owner, name, word):
        original = getattr(owner, name)

        def call(*args, **kwargs):
            found.append(word)
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    for owner, name, word in (
        (NaNGuard, "check", "guard"),
        (TrainingRun, "_validate", "validate"),
        (Checkpoints, "epoch_completed", "save"),
        (Checkpoints, "completed", "save the end"),
        (Progress, "close", "close the bar"),
        (RunReport, "write", "report"),
        (RunReport, "publish", "page"),
        (training_run, "write_record", "record"),
    ):
        note(owner, name, word)
    return found


def test_nothing_is_saved_before_it_is_checked_and_validated_and_the_record_comes_last(tmp_path, calls, record):
    trainer, _ = make(tmp_path, epochs=2, scores=[1.0, 2.0])
    trainer.run()
    epoch = ["guard", "validate", "save"]
    assert calls == [*epoch, *epoch, "save the end", "close the bar", "report", "page", "record"]


def test_the_record_is_written_when_its_product_is_whole(tmp_path, monkeypatch, record):
    there = []

    def look(product, content, metrics):
        there.append((product, content, sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".0")))

    monkeypatch.setattr(training_run, "write_record", look)
    trainer, _ = make(tmp_path)
    trainer.run()
    ((product, content, files),) = there
    assert product == str(tmp_path / "model.pt")
    assert content == RECORD | {"patients": {"train": []}}
    assert {"last.pt", "model.pt", "report.json", "report.html"} <= set(files)


def test_the_record_lies_beside_the_weights_where_a_phase_of_a_bundle_runs(tmp_path, record):
    trainer, _ = make(tmp_path)
    trainer.run()
    assert (tmp_path / "model.record.json").is_file()
    assert read_record(tmp_path / "model.pt") == RECORD | {"patients": {"train": []}}


@pytest.mark.parametrize("r2", [-0.125, 0.5])
def test_what_a_pretraining_has_learned_stands_in_its_record_and_a_failure_is_said(tmp_path, record, caplog, r2):
    trainer, evaluator = make(tmp_path, scores=[1.0, 2.0, 3.0])
    evaluator.summary = lambda: {"r2": summarize([r2]), "r2_over_position": summarize([])}
    trainer.run()
    assert ("NOTHING LEARNED" in caplog.text) is (r2 < 0)
    assert metrics_behind(tmp_path / "model.pt") == {"r2": r2}
    assert "metrics" not in read_record(tmp_path / "model.pt")


def test_there_is_no_record_where_no_phase_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "_record", None)
    trainer, _ = make(tmp_path)
    trainer.run()
    assert (tmp_path / "model.pt").exists()
    assert not list(tmp_path.glob("*.record.json"))


def test_only_the_first_process_writes(tmp_path, record):
    trainer, _ = make(tmp_path, rank=1, scores=[1.0, 2.0, 3.0])
    trainer.run()
    assert trainer.state.iteration == 9
    assert list(tmp_path.iterdir()) == []


def test_a_run_whose_loss_is_not_finite_saves_nothing_and_has_no_record(tmp_path, record):
    trainer, _ = make(tmp_path, loss=lambda pred, label: pred.sum() * torch.nan)
    with pytest.raises(TrainingError, match="the loss became nan"):
        trainer.run()
    assert not list(tmp_path.glob("*.pt"))
    assert not list(tmp_path.glob("*.record.json"))


def test_a_learning_rate_is_attached_to_the_optimizer_and_is_no_state(tmp_path):
    rate = LearningRate("cosine", warmup=0.25)
    trainer, _ = make(tmp_path, rate=rate)
    seen = []
    trainer.add_event_handler("ITERATION_COMPLETED", lambda e: seen.append(e.optimizer.param_groups[0]["lr"]))
    trainer.run()
    assert seen == pytest.approx([0.1 * rate.factor(step, 9) for step in range(9)])
    assert seen[0] == 0
    assert set(read_checkpoint(tmp_path / "last.pt")["objects"]) == {"network", "optimizer"}


def test_a_schedule_of_torch_is_stepped_every_iteration_and_saved(tmp_path):
    trainer, _ = make(tmp_path)
    schedule = torch.optim.lr_scheduler.LinearLR(trainer.optimizer, 1.0, 0.1, total_iters=9)
    (tmp_path / "b").mkdir()
    other = SegmentationTrainer(
        *(torch.device("cpu"), 3, trainer.data_loader, trainer.network, trainer.optimizer, nn.MSELoss())
    )
    TrainingRun("training", str(tmp_path / "b"), str(tmp_path / "b/model.pt"), lr_scheduler=schedule).attach(other)
    other.run()
    assert schedule.last_epoch == 9
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
    assert "lr_scheduler" in read_checkpoint(tmp_path / "b/last.pt")["objects"]


def test_validation_comes_at_its_interval_and_after_the_last_epoch(tmp_path):
    trainer, evaluator = make(tmp_path, epochs=5, scores=[1.0, 3.0, 2.0], val_interval=2)
    validated = []
    evaluator.add_event_handler("COMPLETED", lambda _: validated.append(trainer.state.epoch))
    trainer.run()
    assert validated == [2, 4, 5]
    assert json.loads((tmp_path / "report.json").read_text())["best"] == {"epoch": 4, "score": 3.0}


def test_it_stops_when_patience_is_at_an_end(tmp_path):
    # Validated in epochs 2, 4, ...; four epochs of patience are two validations without a better one.
    trainer, _ = make(tmp_path, epochs=20, scores=[1.0, 3.0, 2.0, 2.0, 9.0], val_interval=2, patience=4)
    trainer.run()
    assert trainer.state.epoch == 8
    assert "early_stop" in read_checkpoint(tmp_path / "last.pt")["objects"]


def test_the_weights_are_those_of_the_best_epoch_or_of_the_end(tmp_path):
    states = {}
    for name, at_end in (("best", False), ("end", True)):
        (tmp_path / name).mkdir()
        trainer, _ = make(tmp_path / name, scores=[1.0, 3.0, 2.0], weights_at_end=at_end)
        trainer.add_event_handler(
            "EPOCH_COMPLETED",
            lambda e: states.update({e.state.epoch: {k: v.clone() for k, v in e.network.state_dict().items()}}),
        )
        trainer.run()
        found = read_checkpoint(tmp_path / name / "model.pt")
        expected = states[3 if at_end else 2]
        assert all(torch.equal(found[key], value) for key, value in expected.items())
    assert not torch.equal(states[2]["weight"], states[3]["weight"])
