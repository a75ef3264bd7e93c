"""The page of a row over its folds: every patient once, judged by the training that had not seen it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_ext.data.io.whole_file import whole_file
from monai_ext.handlers.html_report import html_report, worst_first
from monai_ext.metrics.crossed_detection import CANDIDATES
from monai_ext.table.cases import IDS, CaseValues

__all__ = ["write_page"]

EMBEDDED = 12  # pictures in full size


def write_page(values: CaseValues, row: str, metrics: Sequence[Mapping[str, Any]], folder: Path, section: str) -> None:
    """Write ``report.html`` of a row: its metrics with intervals, and its cases, worst first, with their pictures.

    Nothing is written where a case stands more than once, in several draws or seeds.

    Args:
        values: of all cases.
        row: its name.
        metrics: of the row, each with ``metric``, ``mean``, ``ci_low``, ``ci_high`` and ``n``.
        folder: of the row, which holds a folder for each training; takes the page.
        section: folder of the evaluation in each of these.
    """
    own = [line for line in values.rows if line["row"] == row]
    names = [line["case"] for line in own]
    if not own or len(set(names)) < len(names):
        return
    folds = sorted({line["fold"] for line in own if line["fold"]})
    shown = [name for name in own[0] if name not in (*IDS, CANDIDATES)]
    listed = [{"case": line["case"], **{name: line.get(name, "") for name in shown}} for line in own]
    cases, order = worst_first(listed)
    drawn = {path.stem: path for path in sorted(folder.glob(f"*/{section}/preview/*.png")) if path.stem in set(names)}
    pictures = [drawn[case["case"]] for case in cases if case["case"] in drawn][:EMBEDDED]
    report: dict[str, Any] = {"phase": f"{row}, {section}", "metrics": {one["metric"]: one for one in metrics}}
    report |= {"folds": folds} if folds else {}
    page = html_report(report, {}, pictures, cases=cases, order=order, drawn=drawn)
    with whole_file(folder / "report.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
