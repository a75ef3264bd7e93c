"""Stop a run whose loss is not finite."""

from __future__ import annotations

from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor

from monai_ext.errors import TrainingError

__all__ = ["NaNGuard"]


class NaNGuard:
    """Raise an error when the loss of an iteration is NaN or infinite.

    The losses are summed on the device. The sum is checked every ``interval`` iterations and at the end of the epoch,
    before anything is saved. So the last checkpoint is always good, and no step waits for the device.

    Args:
        interval: number of iterations between two checks.

    Raises:
        TrainingError: the loss is not finite; the run ends with exit code 5.
    """

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval
        self.total: Tensor | None = None

    def attach(self, engine: Engine) -> None:
        """Watch ``engine.state.output["loss"]``."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.add)
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self.check)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.check_last)

    def add(self, engine: Engine) -> None:
        """Add the loss of an iteration."""
        state: Any = engine.state
        loss = state.output["loss"].detach()
        self.total = loss if self.total is None else self.total + loss

    def check_last(self, engine: Engine) -> None:
        """Check at the last iteration of an epoch."""
        if engine.state.iteration % (engine.state.epoch_length or 1) == 0:
            self.check(engine)

    def check(self, engine: Engine) -> None:
        """Raise when the sum is not finite."""
        total, self.total = self.total, None
        if total is not None and not torch.isfinite(total):
            raise TrainingError(
                f"the loss became {float(total)} at or before iteration {engine.state.iteration} of epoch "
                f"{engine.state.epoch}. The last good checkpoint is kept; check the data (python -m monai_ext.check), "
                "lower the learning rate, or set --amp false"
            )
