"""Write files atomically, and remove what a killed process left half-written."""

from __future__ import annotations

import os
import re
import socket
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["sweep", "whole_file"]

_HOST = f"{zlib.crc32(socket.gethostname().encode()):08x}"
_TEMPORARY = re.compile(r"\..+\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}(\.|$)")
_ABANDONED_AFTER = 24 * 3600  # seconds after which a file of another machine's process is taken for abandoned
_open: set[Path] = set()  # those of this process


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Context with the path of a temporary file, which replaces ``path`` when the block ends without an error.

    The temporary file lies in the same folder, which is made if missing, and has the same suffixes, because some
    writers choose the format by them. After an error, a full disk or Ctrl-C the temporary file is removed and ``path``
    is untouched; after a kill :func:`sweep` removes it. Processes that write the same file at the same time, on one
    machine or several, do not disturb each other; the last one wins.

    Raises:
        OSError: the folder or the file cannot be written; the error always names ``path``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    mark = f"{_HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    temporary = path.with_name(f".{path.name}.{mark}{''.join(path.suffixes[-2:])}")
    _open.add(temporary.absolute())
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is not None and error.filename in (None, temporary, str(temporary)):  # NumPy's have only text
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        _open.discard(temporary.absolute())


def sweep(folder: str | Path, deep: bool = False) -> None:
    """Remove the temporary files of processes that are gone.

    Those of processes that live are kept, and so are those of other machines for a day.

    Args:
        folder: the folder of the files; it may be missing.
        deep: True looks into the folders below it too.
    """
    for path in (Path(folder).rglob if deep else Path(folder).glob)(".*"):
        found = _TEMPORARY.match(path.name)
        if found and _is_abandoned(path, found[1], int(found[2])):
            with suppress(OSError):
                path.unlink()


def _is_abandoned(path: Path, host: str, process: int) -> bool:
    if host != _HOST:
        with suppress(OSError):
            return time.time() - path.stat().st_mtime > _ABANDONED_AFTER
        return False
    if process == os.getpid():  # perhaps of an earlier process of this number
        return path.absolute() not in _open
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
