"""One progress bar for a whole run."""

from __future__ import annotations

import math
import os
import sys
from typing import Any

from ignite.engine import Engine, Events
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from monai_ext.progress_bar import bar_options

__all__ = ["Progress"]


class Progress:
    """Progress bar over all epochs with the loss, the key metric of validation, and the time left.

    ignite's own bar counts one epoch and reads the loss in every iteration, which waits for the device. This bar counts
    the whole run and reads the loss at most once in ``interval`` iterations. Log lines appear above it. Without a
    terminal it is a line from time to time, and one at the end.

    Args:
        name: name of the running phase.
        evaluator: evaluator whose key metric is shown, with its best value.
        interval: number of iterations between two readings of the loss.
    """

    def __init__(self, name: str, evaluator: Engine | None = None, interval: int = 10) -> None:
        self.name, self.evaluator, self.interval = name, evaluator, interval
        self.bar: tqdm | None = None
        self._logs: Any = None

    def attach(self, engine: Engine) -> None:
        """Show the run of ``engine``."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.advance)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.describe)
        engine.add_event_handler(Events.COMPLETED, self.close)

    def start(self, engine: Engine) -> None:
        """Open the bar at the iteration where the run starts or resumes."""
        state: Any = engine.state
        alone = state.rank == 0 and int(os.environ.get("RANK", 0)) == 0  # also of processes that exchange nothing
        if alone and not engine.should_terminate:
            length = state.epoch_length or 0
            total = state.max_epochs * length
            self.bar = tqdm(total=total, initial=state.iteration, desc=self.name, unit="it", **bar_options())
            if sys.stderr.isatty():
                self._logs = logging_redirect_tqdm()
                self._logs.__enter__()

    def advance(self, engine: Engine) -> None:
        """Count an iteration."""
        if self.bar is not None:
            if self.bar.n + 1 == self.bar.total:
                self.bar.n += 1  # shown once, when the run is closed
            else:
                self.bar.update()
            if engine.state.iteration % self.interval == 0:
                self.describe(engine)

    def describe(self, engine: Engine) -> None:
        """Refresh the text beside the bar."""
        if self.bar is None:
            return
        state: Any = engine.state
        shown = {"epoch": f"{state.epoch}/{state.max_epochs}"} if state.max_epochs > 1 else {}
        if isinstance(state.output, dict) and "loss" in state.output:  # an evaluator has none
            shown["loss"] = f"{float(state.output['loss'].detach()):.4f}"
        validation: Any = getattr(self.evaluator, "state", None)
        if validation is not None and validation.best_metric_epoch > 0:
            name = validation.key_metric_name
            latest = validation.metrics.get(name, math.nan)  # none yet in a resumed run
            shown[name] = f"{latest:.4f} (best {validation.best_metric:.4f})"
        self.bar.set_postfix(shown, refresh=False)

    def close(self, engine: Engine) -> None:
        """Leave the finished bar on the screen."""
        if self.bar is not None:
            self.describe(engine)
            self.bar.close()
            self.bar = None
        if self._logs is not None:
            self._logs.__exit__(None, None, None)
            self._logs = None
