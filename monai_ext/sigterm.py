"""SIGTERM, with which a scheduler asks a run to end: at once, or in a training after the step that is being done."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType

__all__ = ["STOPPED", "Stopped", "end_on_sigterm", "finish_step", "is_asked", "outlast_sigterm", "stop"]

logger = logging.getLogger(__name__)

STOPPED = 7  # exit code of a run that SIGTERM ended

_asked = False
_in_steps = False


class Stopped(SystemExit):
    """The run was asked to end; like Ctrl-C, no ``except Exception`` takes it for a fault of a case."""

    def __init__(self) -> None:
        super().__init__(STOPPED)


def end_on_sigterm() -> None:
    """Let SIGTERM end this process with exit code 7, after all that a ``finally`` has to tidy up.

    A program that has its own answer to SIGTERM keeps it, and so does a run that is not in the main thread.
    """
    alone = threading.current_thread() is threading.main_thread()
    if alone and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _answer)


def _answer(number: int, frame: FrameType | None) -> None:
    global _asked
    _asked = True
    if not _in_steps:
        stop()


def finish_step(wait: bool) -> None:
    """From now on SIGTERM waits until the run asks for it (True), or ends the run at once (False)."""
    global _in_steps
    _in_steps = wait
    if _asked and not wait:
        stop()


def outlast_sigterm(begin: Callable[[int], None] | None, seconds: int, worker: int) -> None:
    """Begin a worker that loads data, which ends only some seconds after SIGTERM: the run needs it for its step.

    Args:
        begin: what else a worker begins with.
        seconds: until it ends.
        worker: its number.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(seconds))
    if begin is not None:
        begin(worker)


def is_asked() -> bool:
    """Whether a SIGTERM is waiting."""
    return _asked


def stop() -> None:
    """End the run.

    Raises:
        Stopped: always.
    """
    global _in_steps
    _in_steps = False
    logger.warning("stopped by SIGTERM. The same command with --resume true goes on")
    raise Stopped
