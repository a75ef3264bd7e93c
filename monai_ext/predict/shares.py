"""Run the inference of a bundle in this process, or in several that each take a share of the studies."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
from monai.bundle import run

from monai_ext.bundle import Command
from monai_ext.errors import BundleError, StudyError, find_bundle_error
from monai_ext.phases.library_noise import quiet_libraries

__all__ = ["ShareError", "infer"]

Failures = list[dict[str, str]]


class ShareError(BundleError):
    """A process ended with an error that concerns all studies; the command ends with its exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def infer(command: Command, processes: int = 1) -> Failures:
    """Run a command over all studies that are left.

    Args:
        command: the ``run`` of a bundle's inference.
        processes: that work at the same time, on one GPU each, or on a share of the cores each.

    Returns:
        The studies that could not be done: their ids, causes, remedies and files.

    Raises:
        BundleError: what concerns all studies: the weights, the disk, a wrong setting.
    """
    return _alone(command) if processes == 1 else _together(command, processes)


@contextlib.contextmanager
def _as_a_call() -> Iterator[None]:
    """A run on the command line repeats its words and ends its process after an error; one that is called does not."""
    hook, loggers = sys.excepthook, [logging.getLogger(f"monai.bundle.{name}") for name in ("scripts", "workflows")]
    levels = [logger.level for logger in loggers]
    main = threading.current_thread() is threading.main_thread()
    term = signal.getsignal(signal.SIGTERM) if main else None
    try:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        with warnings.catch_warnings():
            quiet_libraries()
            yield
    finally:
        sys.excepthook = hook
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
        if main:
            signal.signal(signal.SIGTERM, term)


def _alone(command: Command) -> Failures:
    try:
        with _as_a_call():
            configs = Path(command.config_files[0]).parent
            about = {"meta_file": configs / "metadata.json", "logging_file": configs / "logging.conf"}
            own = {name: str(path) for name, path in about.items() if path.is_file()}
            run(run_id=command.run_id, config_file=list(command.config_files), **own, **command.overrides)
    except Exception as error:
        found = find_bundle_error(error)
        if isinstance(found, StudyError):
            return found.failures
        if found is None:
            raise
        raise found from None
    return []


def _together(command: Command, processes: int) -> Failures:
    context = multiprocessing.get_context("spawn")
    workers: dict[Connection, Any] = {}
    try:
        for rank in range(processes):
            ours, theirs = context.Pipe(duplex=False)
            worker = context.Process(target=_share, args=(rank, processes, command, theirs))
            worker.start()
            theirs.close()
            workers[ours] = worker
        return _collect(dict(workers))
    finally:
        for worker in workers.values():
            if worker.is_alive():
                worker.terminate()
            worker.join()


def _collect(workers: dict[Connection, Any]) -> Failures:
    """What all processes say; one that fails does not end the others, whose studies are their own."""
    failures: Failures = []
    error: ShareError | None = None
    while workers:
        for connection in wait(list(workers)):
            assert isinstance(connection, Connection)
            worker = workers.pop(connection)
            try:
                failed, said = connection.recv()
            except EOFError:  # killed, or ended by an error that is no fault of the data
                worker.join()
                text = (
                    f"a process ended with code {worker.exitcode}: its other studies are left. The same command goes on"
                )
                failed, said = [], (text, 1)
            failures += failed
            error = error or (ShareError(*said) if said else None)
    if error is not None:
        raise error
    return failures


def _share(rank: int, size: int, command: Command, connection: Connection) -> None:
    """One of several processes."""
    os.environ.update({"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)})
    os.environ.pop("MASTER_ADDR", None)  # they exchange nothing
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // size))
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        connection.send((_alone(command), None))
    except BundleError as error:
        connection.send(([], (str(error), error.exit_code)))
