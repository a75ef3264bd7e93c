"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["whole_file"]


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give the path of a temporary file to write, which takes the place of ``path`` when the block ends well.

    It lies in the same folder, which is made where it is missing, and has the same suffixes, for writers that go by
    them. After an error, a full disk or Ctrl-C it is gone, and what was at ``path`` is untouched. Of two that write one
    file at a time, on one machine or several, neither disturbs the other, and the later one stays.

    Raises:
        OSError: the folder or the file cannot be written; it names ``path`` even where the writer named nothing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{''.join(path.suffixes[-2:])}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is not None and error.filename in (None, temporary, str(temporary)):  # NumPy's are words alone
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
