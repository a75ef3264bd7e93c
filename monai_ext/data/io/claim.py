"""Keep other runs out of what a run writes."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from monai_ext.errors import ConfigError

__all__ = ["claim", "lock_file", "turn"]

_locks: dict[str, IO[str]] = {}


def lock_file(path: str | Path) -> Path:
    """The file that is locked for a path: ``.lock`` in a folder, ``.model.pt.lock`` beside ``model.pt``."""
    path = Path(os.path.realpath(path))
    return path / ".lock" if path.is_dir() else path.with_name(f".{path.name}.lock")


def claim(path: str | Path) -> None:
    """Keep other runs from writing to a file, or to an existing folder, until this process ends, however it ends.

    Processes that this one starts, such as those that load data, do not hold what it has claimed.

    Raises:
        ConfigError: the lock cannot be written, or another run has claimed the path; says which process, and since
            when.
    """
    place = lock_file(path)
    if str(place) in _locks:
        return
    lock = _open(place)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = _holder(lock)
        lock.close()
        raise ConfigError(
            f"another run is writing to {os.path.realpath(path)}{holder}. Wait for it, or keep this one apart: another "
            "--run_dir takes models and output of all phases"
        ) from None
    lock.truncate(0)
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    lock.write(json.dumps({"process": os.getpid(), "host": socket.gethostname(), "since": since}) + "\n")
    lock.flush()
    _locks[str(place)] = lock


@contextmanager
def turn(path: str | Path) -> Iterator[None]:
    """Wait until no other process is in this block for a file or an existing folder, and keep them out of it.

    Raises:
        ConfigError: the lock cannot be written.
    """
    with _open(lock_file(path)) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _open(place: Path) -> IO[str]:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        return open(place, "a+", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write to {place.parent}: {error.strerror}. Give another --output_dir") from error


def _holder(lock: IO[str]) -> str:
    """Who holds a lock, in words; empty where the file does not tell within a second of two runs' start."""
    for _ in range(20):
        lock.seek(0)
        with suppress(ValueError, KeyError, TypeError):
            found = json.loads(lock.read())
            return f" (process {found['process']} on {found['host']}, since {found['since']})"
        time.sleep(0.05)
    return ""


def _let_go() -> None:
    """Close the locks in a fork: it is not the run that holds them, and may live longer."""
    while _locks:
        _locks.popitem()[1].close()


os.register_at_fork(after_in_child=_let_go)
