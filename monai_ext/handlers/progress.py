"""One progress bar for a whole run."""

from __future__ import annotations

import math
import os
import sys
from typing import Any, TextIO

from ignite.engine import Engine, Events
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

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
            terminal = sys.stderr.isatty()
            self.bar = tqdm(
                total=state.max_epochs * length,
                initial=state.iteration,
                desc=self.name,
                unit="it",
                file=sys.stderr if terminal else Lines(sys.stderr),
                dynamic_ncols=True,
                mininterval=0.2 if terminal else 10,
            )
            if terminal:
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


class Lines:
    """A stream on which each state of a bar is a line of its own."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        """Write what there is of a line."""
        if line := text.strip("\r\n "):
            self.stream.write(f"{line}\n")

    def flush(self) -> None:
        """Hand on what was written."""
        self.stream.flush()
