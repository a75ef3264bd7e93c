import logging

import torch
from ignite.engine import Engine, Events

from monai_ext.handlers import Progress


def run(output, epochs, capsys, metric=None):
    engine = Engine(lambda engine, batch: output)
    engine.state.rank = 0
    evaluator = Engine(lambda engine, batch: None)
    evaluator.state.best_metric_epoch, evaluator.state.key_metric_name = (1, "val_dice") if metric else (-1, None)
    evaluator.state.best_metric, evaluator.state.metrics = metric, {}
    engine.add_event_handler(Events.STARTED, lambda engine: None)
    Progress("training", evaluator, interval=2).attach(engine)
    engine.run(range(5), max_epochs=epochs)
    return capsys.readouterr().err


def test_counts_the_whole_run_with_loss_and_metric(capsys):
    shown = run({"loss": torch.tensor(0.25, requires_grad=True)}, 3, capsys, metric=0.5)
    assert "15/15" in shown
    assert "epoch=3/3, loss=0.2500, val_dice=nan (best 0.5000)" in shown


def test_an_evaluator_has_no_loss(capsys):
    assert "5/5" in run([{"pred": 1}], 1, capsys)


def test_without_a_terminal_the_end_is_one_line(capsys):
    lines = run([{"pred": 1}], 1, capsys).splitlines()
    assert [line for line in lines if "5/5" in line] == lines[-1:]
    assert all("\r" not in line for line in lines)


def test_log_lines_stand_above_the_bar_of_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    handlers = logging.getLogger().handlers
    engine = Engine(lambda engine, batch: None)
    engine.state.rank = 0
    Progress("inference").attach(engine)
    kept = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: kept.append(logging.getLogger().handlers))
    engine.run(range(2))
    assert any(type(handler).__name__ == "_TqdmLoggingHandler" for handler in kept[0])
    assert logging.getLogger().handlers == handlers
