"""How far something is: a bar in a terminal, lines in a log."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

from monai_ext.processes import is_first

__all__ = ["Lines", "bar_options", "progress_bar"]

MOVE_UP = "\x1b[A"  # to the place of a bar that stands above another


class Lines:
    """A stream on which each state of a bar is a line of its own."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.state = ""

    def write(self, text: str) -> None:
        """Write what there is of a line, unless only its time is new."""
        line = text.replace(MOVE_UP, "").strip("\r\n ")
        state = line.rpartition(" [")[0] or line
        if line and state != self.state:
            self.stream.write(f"{line}\n")
            self.state = state

    def flush(self) -> None:
        """Hand on what was written."""
        self.stream.flush()


def bar_options() -> dict[str, Any]:
    """Options of tqdm: in a terminal a bar, otherwise a line every ten seconds and one at the end."""
    terminal = sys.stderr.isatty()
    return {
        "file": sys.stderr if terminal else Lines(sys.stderr),
        "dynamic_ncols": True,
        "mininterval": 0.2 if terminal else 10,
    }


def progress_bar(items: Iterable[Any], what: str, unit: str, total: int | None = None, **options: Any) -> tqdm:
    """The items, while the first process shows how far it is and how long it will take.

    Args:
        items: to go through.
        what: is done.
        unit: of an item: ``case``.
        total: number of items, of those that have no length.
        **options: of tqdm: ``delay=2`` says nothing in the first two seconds, ``leave=False`` takes the bar away.

    Example:
        >>> from monai_ext.progress_bar import progress_bar
        >>> [case for case in progress_bar(["a", "b"], "Preparing", "case")]
        ['a', 'b']
    """
    return tqdm(items, desc=what, unit=unit, total=total, disable=not is_first(), **bar_options(), **options)
