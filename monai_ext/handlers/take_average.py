"""End a run with the average of its last weights."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine, Events

from monai_ext.handlers.ema import EMA

__all__ = ["TakeAverage"]


class TakeAverage:
    """After the last iteration the network takes over the averaged weights, which are then validated and saved.

    With few labels the average of a run at a constant rate generalizes better than the last weights of one whose rate
    decays (stochastic weight averaging, Izmailov et al. 2018). Attach it after the average itself.

    Args:
        ema: follows the network.
    """

    def __init__(self, ema: EMA) -> None:
        self.ema = ema

    def attach(self, engine: Engine) -> None:
        """Look after every iteration whether it was the last."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Take the average if the run is at its end."""
        state: Any = engine.state
        if state.iteration == state.max_epochs * state.epoch_length:
            self.ema.student.load_state_dict(self.ema.teacher.state_dict())
