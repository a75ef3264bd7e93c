import math

import pytest
import torch
from ignite.engine import Engine, Events

from monai_ext.errors import TrainingError
from monai_ext.handlers import NaNGuard


def run(losses, interval=50):
    """Losses of one epoch; the events at which checkpoints would be written."""
    engine, saved = Engine(lambda engine, loss: {"loss": torch.tensor(loss)}), []
    NaNGuard(interval).attach(engine)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: saved.append(engine.state.epoch))
    try:
        engine.run(losses, max_epochs=2)
    finally:
        run.iterations = engine.state.iteration
    return saved


def test_finite_losses_pass():
    assert run([1.0, -2.0, 1e30]) == [1, 2]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("interval", "stopped"), [(1, 2), (3, 3), (50, 6)])
def test_run_stops_at_the_next_look_and_before_anything_is_saved(bad, interval, stopped):
    with pytest.raises(TrainingError, match="loss became"):
        run([1.0, bad, 1.0, 1.0, 1.0, 1.0], interval)
    assert run.iterations == stopped
