"""Write files atomically."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["whole_file"]


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Context with the path of a temporary file, which replaces ``path`` when the block ends without an error.

    The temporary file lies in the same folder, which is made if missing, and has the same suffixes, because some
    writers choose the format by them. After an error, a full disk or Ctrl-C the temporary file is removed and ``path``
    is untouched. Processes that write the same file at the same time, on one machine or several, do not disturb each
    other; the last one wins.

    Raises:
        OSError: the folder or the file cannot be written; the error always names ``path``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{''.join(path.suffixes[-2:])}")
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
