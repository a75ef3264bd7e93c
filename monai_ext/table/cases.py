"""What a table is computed from: every metric of every case, in every training of a row."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from monai_ext.data.io.csv_file import write_csv
from monai_ext.metrics import CrossedSummary, summarize_crossed
from monai_ext.metrics.crossed_detection import (
    CANDIDATES,
    DETECTION_METRICS,
    Run,
    read_candidates,
    summarize_detections,
)
from monai_ext.table.row import Cell

__all__ = ["CaseValues", "read_cases", "write_cases"]

IDS = ("row", "fold", "draw", "seed", "case", "patient")


@dataclass
class CaseValues:
    """Values by row, cell, patient and metric; of several cases of a patient, their mean.

    Where the cases have lesion candidates, AUROC, AP and score are metrics too, of all cases together.
    """

    rows: list[dict[str, str]] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        """Names of the values, in the order of the files."""
        return list(dict.fromkeys(name for row in self.rows for name in row if name not in IDS))

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics."""
        columns = self.columns
        known = [name for name in columns if name != CANDIDATES]
        return [*DETECTION_METRICS, *known] if CANDIDATES in columns else known

    def add(self, row: str, cell: Cell, file: Path) -> None:
        """Add ``cases.csv`` of an evaluation."""
        with open(file, newline="", encoding="utf-8") as lines:
            self.rows += [{**self.about(row, cell), **line} for line in csv.DictReader(lines)]

    @staticmethod
    def about(row: str, cell: Cell) -> dict[str, str]:
        """Columns by which the values of a cell are known."""
        named = {"row": row, "fold": cell.fold, "draw": cell.draw, "seed": cell.seed}
        return {key: "" if value is None else str(value) for key, value in named.items()}

    def matrix(self, row: str, metric: str) -> tuple[dict[tuple[str, str], int], NDArray[np.float64]]:
        """The mean over seeds of every patient under every draw.

        Returns:
            the line of each (fold, patient), and values ``[patients, draws]``, NaN where there is none.
        """
        own = [line for line in self.rows if line["row"] == row]
        draws = {draw: number for number, draw in enumerate(dict.fromkeys(line["draw"] for line in self.rows))}
        lines = {key: number for number, key in enumerate(dict.fromkeys((x["fold"], x["patient"]) for x in own))}
        total, count = np.zeros((len(lines), len(draws))), np.zeros((len(lines), len(draws)))
        for line in own:
            if line.get(metric):
                place = lines[line["fold"], line["patient"]], draws[line["draw"]]
                total[place] += float(line[metric])
                count[place] += 1
        with np.errstate(invalid="ignore"):
            return lines, np.where(count > 0, total / count, np.nan)

    def summary(self, row: str, metric: str) -> CrossedSummary:
        """Mean and interval of a row, over its test patients and draws."""
        if metric in DETECTION_METRICS:
            return summarize_detections(list(self._detections(row).values()))[metric]
        lines, values = self.matrix(row, metric)
        return summarize_crossed(values.reshape(len(lines), -1), [fold for fold, _ in lines])

    def difference(self, row: str, other: str, metric: str) -> CrossedSummary:
        """A row less another, patient by patient and draw by draw, where both have a value."""
        if metric in DETECTION_METRICS:
            of_row, of_other = self._detections(row), self._detections(other)
            drawn = [draw for draw in of_row if draw in of_other]
            return summarize_detections([of_row[draw] for draw in drawn], [of_other[draw] for draw in drawn])[metric]
        mine, values = self.matrix(row, metric)
        theirs, others = self.matrix(other, metric)
        both = [key for key in mine if key in theirs]
        gaps = values[[mine[key] for key in both]] - others[[theirs[key] for key in both]]
        return summarize_crossed(gaps.reshape(len(both), -1), [fold for fold, _ in both])

    def against_draws(self, row: str, other: str, metric: str) -> tuple[CrossedSummary, float]:
        """A row with one choice of the labelled patients less every draw of another row, patient by patient.

        Returns:
            Summary of the differences, and the share of the draws whose mean over the same patients is lower.
        """
        mine, chosen = self.matrix(row, metric)
        theirs, draws = self.matrix(other, metric)
        both = [key for key in mine if key in theirs]
        one = _row_means(chosen[[mine[key] for key in both]])
        many = draws[[theirs[key] for key in both]]
        gaps = one[:, None] - many
        means = _row_means(gaps.T)
        means = means[~np.isnan(means)]
        share = float((means > 0).mean()) if len(means) else float("nan")
        return summarize_crossed(gaps, [fold for fold, _ in both]), share

    def _detections(self, row: str) -> dict[str, list[Run]]:
        """Candidates of a row for each draw, by seed, patient and case; folds are judged as one."""
        found: dict[str, dict[str, dict[str, list[list[tuple[bool, float]]]]]] = {}
        for line in self.rows:
            if line["row"] == row:
                run = found.setdefault(line["draw"], {}).setdefault(line["seed"], {})
                run.setdefault(line["patient"], []).append(read_candidates(line[CANDIDATES]))
        return {draw: list(seeds.values()) for draw, seeds in found.items()}

    def seeds(self, row: str) -> list[str]:
        """Seeds of a row."""
        return sorted({line["seed"] for line in self.rows if line["row"] == row})


def _row_means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of each row's values that are there, NaN where none is."""
    known = ~np.isnan(values)
    count = known.sum(1)
    return np.divide(np.where(known, values, 0).sum(1), count, out=np.full(len(values), np.nan), where=count > 0)


def write_cases(values: CaseValues, path: Path) -> None:
    """Write all values, one line for each row, cell and case; :func:`read_cases` reads them back."""
    write_csv(values.rows, path, [*IDS, *values.columns], lineterminator="\n")


def read_cases(path: Path) -> CaseValues:
    """Values that :func:`write_cases` wrote."""
    with open(path, newline="", encoding="utf-8") as file:
        return CaseValues(list(csv.DictReader(file)))
