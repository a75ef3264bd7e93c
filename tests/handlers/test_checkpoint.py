"""A run that is killed and resumed ends where the uninterrupted one does."""

import json
import signal

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.optimizers import WarmupCosineSchedule
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from monai_ext import bundle, sigterm
from monai_ext.engines import MaskedEvaluator
from monai_ext.errors import CheckpointError, ConfigError, TrainingError
from monai_ext.handlers import Checkpoints, TrainingRun
from monai_ext.networks import read_checkpoint


class Killed(BaseException):
    pass


def run(
    folder,
    epochs=6,
    resume=False,
    kill_at=None,
    patience=None,
    scores=None,
    interval=1,
    during_step=None,
    during_validation=None,
):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.05)
    scheduler = WarmupCosineSchedule(optimizer, 3, epochs * 3)
    x = torch.randn(12, 4)
    evaluator = None
    if scores is not None:
        evaluator = MaskedEvaluator(torch.device("cpu"), [0], net, nn.Identity(), nn.Identity())
        evaluator._process_function = lambda engine, batch: {"loss": torch.tensor(scores[engine.state.epoch - 1])}
    training = TrainingRun(
        "training",
        str(folder),
        str(folder / "model.pt"),
        lr_scheduler=scheduler,
        objects={"network": net, "optimizer": optimizer},
        evaluator=evaluator,
        resume=resume,
        patience=patience,
        save_interval=interval,
    )
    engine = SupervisedTrainer(
        torch.device("cpu"),
        epochs,
        DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=4, shuffle=True),
        net,
        optimizer,
        nn.MSELoss(),
        prepare_batch=lambda batch, *args, **kwargs: batch,
        decollate=False,
        train_handlers=[training],
    )
    if during_step is not None:
        engine.add_event_handler(Events.ITERATION_STARTED, during_step)
    if during_validation is not None:
        evaluator.add_event_handler(Events.ITERATION_STARTED, during_validation)
    if kill_at is not None:

        @engine.on(Events.ITERATION_COMPLETED)
        def kill(engine):
            if engine.state.iteration == kill_at:
                raise Killed

    engine.run()
    return engine, net


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values()))


@pytest.mark.parametrize("kill_at", [2, 3, 4, 11, 17])
def test_resume_equals_uninterrupted(tmp_path, kill_at):
    whole = run(tmp_path / "whole")[1]
    with pytest.raises(Killed):
        run(tmp_path / "killed", kill_at=kill_at)
    engine, resumed = run(tmp_path / "killed", resume=True)
    assert engine.state.iteration == 18
    assert same(whole, resumed)
    assert same_files(tmp_path / "whole/model.pt", tmp_path / "killed/model.pt")


def same_files(a, b):
    a, b = read_checkpoint(a), read_checkpoint(b)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_best_epoch_and_early_stop_survive_a_resume(tmp_path):
    scores = [3.0, 1.0, 2.0, 2.0, 2.0, 2.0]
    engine, _ = run(tmp_path / "whole", scores=scores, patience=2)
    assert engine.state.epoch == 4
    with pytest.raises(Killed):
        run(tmp_path / "killed", scores=scores, patience=2, kill_at=10)
    engine, _ = run(tmp_path / "killed", scores=scores, patience=2, resume=True)
    assert engine.state.epoch == 4
    assert same_files(tmp_path / "whole/model.pt", tmp_path / "killed/model.pt")
    assert json.loads((tmp_path / "killed/report.json").read_text())["best"] == {"epoch": 2, "val_loss": 1.0}


def files(folder):
    """All but the curves, of which each run begins a file."""
    return [path for path in folder.iterdir() if "tfevents" not in path.name]


@pytest.fixture
def record(monkeypatch):
    """What makes the weights, as a phase of a bundle tells."""
    found = {"settings": {"seed": 0}}
    monkeypatch.setattr(bundle, "_record", found)
    return found


def test_finished_run_says_so_and_changes_nothing(tmp_path, caplog, record):
    run(tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in files(tmp_path)}
    with caplog.at_level("WARNING"):
        run(tmp_path, resume=True)
    assert "this run is finished" in caplog.text
    assert before == {path.name: path.stat().st_mtime_ns for path in files(tmp_path)}


@pytest.mark.parametrize("scores", [None, [3.0, 1.0, 2.0, 2.0, 2.0, 2.0]])
@pytest.mark.parametrize("lost", ["model.pt", "model.record.json", "report.json", "report.html"])
def test_what_a_finished_run_lacks_is_written_again(tmp_path, record, lost, scores):
    run(tmp_path, scores=scores)
    before = {path.name for path in files(tmp_path)}
    weights, last = read_checkpoint(tmp_path / "model.pt"), read_checkpoint(tmp_path / "last.pt")
    (tmp_path / lost).unlink()
    run(tmp_path, scores=scores, resume=True)
    assert before == {path.name for path in files(tmp_path)}
    assert all(torch.equal(weights[name], value) for name, value in read_checkpoint(tmp_path / "model.pt").items())
    assert read_checkpoint(tmp_path / "last.pt")["iteration"] == last["iteration"]


def test_a_run_that_begins_anew_is_finished_at_its_own_end(tmp_path, record):
    """The record, the weights and the report of the run before it say nothing of it."""
    run(tmp_path)
    with pytest.raises(Killed):
        run(tmp_path, kill_at=5)
    engine, _ = run(tmp_path, resume=True)
    assert engine.state.iteration == read_checkpoint(tmp_path / "last.pt")["iteration"] == 18


def test_checkpoint_of_another_run_is_refused_by_name(tmp_path, record, monkeypatch, caplog):
    with pytest.raises(Killed):
        run(tmp_path, kill_at=11)
    monkeypatch.setattr(bundle, "_record", {"settings": {"seed": 1}})
    with pytest.raises(ConfigError, match=r"last\.pt is of another run: seed was 0, is 1\. .*--run_dir"):
        run(tmp_path, resume=True)
    monkeypatch.setattr(bundle, "_record", record)
    run(tmp_path, resume=True)
    monkeypatch.setattr(bundle, "_record", {"settings": {"seed": 1}})
    with pytest.raises(ConfigError, match="seed was 0, is 1"):
        run(tmp_path, resume=True)  # nor is it a finished one
    with caplog.at_level("WARNING"):
        run(tmp_path)
    assert f"{tmp_path / 'model.pt'} of another run will be replaced: seed was 0, is 1" in caplog.text


def test_checkpoint_that_does_not_tell_its_run_is_refused(tmp_path, monkeypatch, record):
    monkeypatch.setattr(bundle, "_record", None)
    with pytest.raises(Killed):
        run(tmp_path, kill_at=11)
    monkeypatch.setattr(bundle, "_record", record)
    with pytest.raises(CheckpointError, match=r"last\.pt: nothing tells what made it"):
        run(tmp_path, resume=True)


@pytest.mark.parametrize("step", [1, 2, 3, 4, 11, 18])
def test_sigterm_loses_no_step(tmp_path, monkeypatch, step):
    """The run ends after the step in which it is asked; the resumed one ends at the same bits."""
    whole = run(tmp_path / "whole")[1]
    monkeypatch.setattr(sigterm, "_asked", False)

    def ask(engine):
        if engine.state.iteration == step:
            sigterm._answer(signal.SIGTERM, None)

    with pytest.raises(sigterm.Stopped) as ended:
        run(tmp_path / "asked", during_step=ask)
    assert ended.value.code == 7
    saved = read_checkpoint(tmp_path / "asked/last.pt")
    assert (saved["iteration"], saved["epoch"]) == (step, (step - 1) // 3 + 1)
    monkeypatch.setattr(sigterm, "_asked", False)
    engine, resumed = run(tmp_path / "asked", resume=True)
    assert engine.state.iteration == 18
    assert same(whole, resumed)
    for name in ("model.pt", "last.pt"):
        one, other = (read_checkpoint(tmp_path / folder / name) for folder in ("whole", "asked"))
        assert str(one) == str(other)
    listed = [{path.name for path in files(tmp_path / folder)} for folder in ("whole", "asked")]
    assert listed[0] == listed[1]


def test_sigterm_in_a_validation_repeats_the_validation_alone(tmp_path, monkeypatch):
    scores = [3.0, 1.0, 2.0, 2.0, 2.0, 2.0]
    run(tmp_path / "whole", scores=scores, interval=4)
    monkeypatch.setattr(sigterm, "_asked", False)

    def ask(engine):
        if engine.state.epoch == 3:
            sigterm._answer(signal.SIGTERM, None)

    with pytest.raises(sigterm.Stopped):
        run(tmp_path / "asked", scores=scores, interval=4, during_validation=ask)
    assert read_checkpoint(tmp_path / "asked/last.pt")["iteration"] == 9
    monkeypatch.setattr(sigterm, "_asked", False)
    engine, _ = run(tmp_path / "asked", scores=scores, interval=4, resume=True)
    assert engine.state.iteration == 18
    assert same_files(tmp_path / "whole/model.pt", tmp_path / "asked/model.pt")
    reports = [json.loads((tmp_path / f / "report.json").read_text())["best"] for f in ("whole", "asked")]
    assert reports[0] == reports[1] == {"epoch": 2, "val_loss": 1.0}


def test_damaged_last_checkpoint_gives_way_to_the_one_before(tmp_path, caplog):
    whole = run(tmp_path / "whole")[1]
    with pytest.raises(Killed):
        run(tmp_path / "killed", kill_at=14)
    last = tmp_path / "killed/last.pt"
    last.write_bytes(last.read_bytes()[:1000])
    with caplog.at_level("WARNING"):
        _, resumed = run(tmp_path / "killed", resume=True)
    assert "trying the one before" in caplog.text
    assert same(whole, resumed)


def test_unusable_checkpoints_are_refused(tmp_path):
    run(tmp_path)
    for name in ("last.pt", "previous.pt"):
        (tmp_path / name).write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match="neither"):
        run(tmp_path, resume=True)


def test_network_is_required():
    with pytest.raises(ValueError, match="optimizer"):
        Checkpoints(".", {"optimizer": None}, "model.pt")


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    net = nn.Linear(2, 2)
    checkpoints = Checkpoints(str(tmp_path), {"network": net}, str(tmp_path / "model.pt"))
    with torch.no_grad():
        net.weight[0, 0] = torch.inf
    with pytest.raises(TrainingError, match=r"not finite after epoch 3"):
        checkpoints._check_finite(3)
