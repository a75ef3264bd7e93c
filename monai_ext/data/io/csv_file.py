"""Write tables as CSV files, atomically."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_ext.data.io.whole_file import whole_file

__all__ = ["write_csv"]


def write_csv(
    rows: Iterable[Mapping[str, Any]], path: str | Path, names: Sequence[str] | None = None, **options: Any
) -> None:
    """Write a header and one line for each row; what a row lacks is empty.

    Args:
        rows: values by the name of their column.
        path: path of the file.
        names: of the columns; by default all that the rows have, in order of first appearance.
        **options: of :class:`csv.DictWriter`.
    """
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row)) if names is None else names
    with whole_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns, restval="", **options)
        table.writeheader()
        table.writerows(rows)
