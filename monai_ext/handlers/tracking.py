"""MLflow runs that MONAI's ``--tracking mlflow`` starts: named by bundle and phase, with the run's pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.handlers import MLFlowHandler

from monai_ext.bundle import bundle_name
from monai_ext.handlers.find_handlers import find_handlers

__all__ = ["add_artifacts", "close_last", "prepare_trackers"]

UNNAMED = "monai_experiment"  # MONAI's default, under which the runs of all bundles would mix


def _loss_of(transform: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Turn the one-element tuple of MONAI's ``from_engine("loss")`` into the number that MLflow expects."""

    def call(output: Any) -> Any:
        value = transform(output)
        return value[0] if isinstance(value, tuple) and len(value) == 1 else value

    return call


def prepare_trackers(engines: Sequence[Engine], phase: str) -> None:
    """Name the experiment after the bundle, and the run after its phase and time, unless the user named them.

    Call this before the trackers start. The trainer and its evaluator write into one run.

    Args:
        engines: engines to which MONAI has attached handlers.
        phase: name of the running phase.
    """
    run = f"{phase} {time.strftime('%Y-%m-%d %H:%M:%S')}"
    for tracker in (tracker for engine in engines for tracker in find_handlers(engine, MLFlowHandler)):
        if tracker.experiment_name == UNNAMED and bundle_name():
            tracker.experiment_name = bundle_name()
        if tracker.run_name is None:
            tracker.run_name = run
        tracker.output_transform = _loss_of(tracker.output_transform)


def close_last(engine: Engine) -> None:
    """Make the trackers finish after all handlers that are attached to the end of the run so far."""
    for tracker in find_handlers(engine, MLFlowHandler):
        for method in (tracker.complete, tracker.close):
            if engine.has_event_handler(method, Events.COMPLETED):
                engine.remove_event_handler(method, Events.COMPLETED)
                engine.add_event_handler(Events.COMPLETED, method)


def add_artifacts(engine: Engine, files: Sequence[Path]) -> None:
    """Give the trackers files to store; they upload them when they finish."""
    for tracker in find_handlers(engine, MLFlowHandler):
        tracker.artifacts = (*(a for a in tracker.artifacts if a), *map(str, files))
