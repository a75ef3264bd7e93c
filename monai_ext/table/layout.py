"""A table as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["format_table"]

NOTES = (
    "95 % CI: bootstrap over test patients and draws of the labelled ones, both resampled, after the mean over seeds; "
    "without values of cases that of one run's own report. n: test patients (of a report: values)."
)
CHOICES = (
    "Gain over the draws: a choice of the labelled patients less each random draw of the same row, patient by patient; "
    "draws beaten: share of the draws with a lower mean over the same patients."
)
PAPERS = "The paper's own figures were measured by its authors on their data; they are not comparable with ours."


def format_table(entries: Sequence[Mapping[str, Any]], against: str | None = None) -> str:
    """One table for each metric, the rows in their order; readable on a screen too.

    Args:
        entries: ``row, metric, mean, ci_low, ci_high, n, draws, seeds, paper``, and ``difference`` (a dict of ``mean,
            ci_low, ci_high``, or None), and ``gain`` and ``beaten`` of rows whose labelled patients were chosen.
        against: the row that differences are taken to.
    """
    blocks, papers = [], any(entry.get("paper") is not None for entry in entries)
    choices = any("gain" in entry for entry in entries)
    for metric in dict.fromkeys(entry["metric"] for entry in entries):
        header = ["row", "mean", "95 % CI", "n", "draws", "seeds"]
        header += [f"difference to {against}", "95 % CI"] if against else []
        header += ["gain over the draws", "95 % CI", "draws beaten"] if choices else []
        cells = [header + (["paper's own figure"] if papers else [])]
        for entry in (entry for entry in entries if entry["metric"] == metric):
            row = [entry["row"], number(entry["mean"]), interval(entry)]
            row += [str(entry[key]) for key in ("n", "draws", "seeds")]
            if against:
                gap = entry.get("difference")
                row += ["-", "-"] if gap is None else [number(gap["mean"], signed=True), interval(gap, signed=True)]
            if choices:
                gap = entry.get("gain")
                row += (
                    ["-", "-", "-"] if gap is None else [number(gap["mean"], signed=True), interval(gap, signed=True)]
                )
                row += [] if gap is None else [percent(entry["beaten"])]
            cells.append(row + ([number(entry.get("paper"))] if papers else []))
        widths = [max(map(len, column)) for column in zip(*cells)]
        lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths)) + " |" for line in cells]
        lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
        blocks.append("\n".join([f"### {metric}", "", *lines]))
    return "\n\n".join([*blocks, NOTES, *([CHOICES] if choices else []), *([PAPERS] if papers else [])]) + "\n"


def number(value: float | None, signed: bool = False) -> str:
    """Four digits; a dash for what is not defined."""
    return "-" if value is None or math.isnan(value) else f"{value:+.4f}" if signed else f"{value:.4f}"


def percent(value: float | None) -> str:
    """A share; a dash for what is not defined."""
    return "-" if value is None or math.isnan(value) else f"{value:.0%}"


def interval(entry: Mapping[str, Any], signed: bool = False) -> str:
    """Both ends; a dash where there is none."""
    low, high = entry["ci_low"], entry["ci_high"]
    return "-" if low is None or math.isnan(low) else f"{number(low, signed)} to {number(high, signed)}"
