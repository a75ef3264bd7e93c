"""Metrics as a table to read and as a dict for the report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from numpy.typing import ArrayLike
from torch import Tensor

from monai_ext.metrics.summary import Summary, summarize

__all__ = ["MetricTable"]


class MetricTable:
    """Rows of name, mean, 95 % confidence interval and n.

    Example:
        >>> from monai_ext.metrics import MetricTable
        >>> table = MetricTable()
        >>> table.add("dice", [0.5, 0.75, 1.0])
        >>> print(table)
        metric    mean  95 % CI           n
        dice    0.7500  0.5000 to 1.0000  3
    """

    def __init__(self) -> None:
        self.rows: dict[str, Summary] = {}

    def add(self, name: str, values: Tensor | ArrayLike, groups: Any = None, **options: Any) -> None:
        """Add the mean of values; see `summarize` for ``groups`` (patients) and ``options``."""
        self.rows[name] = summarize(values, groups, **options)

    def update(self, summaries: Mapping[str, Summary]) -> None:
        """Add rows that have already been summarised with this table's confidence."""
        self.rows.update(summaries)

    def as_dict(self) -> dict[str, dict[str, float | int | None]]:
        """Rows for ``report.json``, with None in place of NaN, which JSON cannot represent."""
        return {
            name: {key: None if math.isnan(value) else value for key, value in row.items()}  # type: ignore
            for name, row in self.rows.items()
        }

    def __str__(self) -> str:
        def number(value: float) -> str:
            return "-" if math.isnan(value) else f"{value:.4f}"

        def interval(row: Summary) -> str:
            return "-" if math.isnan(row["ci_low"]) else f"{number(row['ci_low'])} to {number(row['ci_high'])}"

        cells = [("metric", "mean", "95 % CI", "n")]
        cells += [(name, number(row["mean"]), interval(row), str(row["n"])) for name, row in self.rows.items()]
        widths = [max(map(len, column)) for column in zip(*cells)]
        lines = (
            "  ".join([name.ljust(widths[0]), mean.rjust(widths[1]), ci.ljust(widths[2]), n.rjust(widths[3])])
            for name, mean, ci, n in cells
        )
        return "\n".join(lines)
