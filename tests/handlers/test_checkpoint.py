"""A run that is killed and resumed ends where the uninterrupted one does."""

import json

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.optimizers import WarmupCosineSchedule
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from monai_ext.engines import MaskedEvaluator
from monai_ext.errors import CheckpointError, TrainingError
from monai_ext.handlers import Checkpoints, TrainingRun
from monai_ext.networks import read_checkpoint


class Killed(BaseException):
    pass


def run(folder, epochs=6, resume=False, kill_at=None, patience=None, scores=None):
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


def test_finished_run_says_so_and_changes_nothing(tmp_path, caplog):
    run(tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.pt")}
    with caplog.at_level("WARNING"):
        run(tmp_path, resume=True)
    assert "this run is finished" in caplog.text
    assert before == {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.pt")}


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
