"""What is finished of a table, in files small enough to be kept when its trainings are gone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from monai_ext.data.io.claim import turn
from monai_ext.data.io.json_file import plain, write_json
from monai_ext.errors import ConfigError
from monai_ext.table.cases import CaseValues, read_cases, write_cases
from monai_ext.table.row import Cell

__all__ = ["Record", "without_places"]

FREE = ("seeds", "draws", "folds", "choices", "against")  # what a table may grow by, or is only printed with
PLACES = ("datalist", "dataset_dir", "cache_dir", "num_workers")  # of a machine


@dataclass
class Record:
    """The metrics of every finished cell, in ``cells.json``, and the values of its cases, in ``cases.csv``.

    A cell that is known is not trained again, so a table can be begun on one machine and finished on another, and
    several processes can train cells of one table at the same time.

    Args:
        folder: of the two files.
        about: settings of the command that its cells have in common.
        cells: ``row``, ``fold``, ``draw``, ``seed``, ``choice`` and ``metrics`` of each, with the ``steps`` and
            ``seconds`` of its training, and the digest of its row's ``overlays``.
        values: of the cases of all cells.
        kept: the files outlast this table: what is found in them is part of it.
    """

    folder: Path
    about: Mapping[str, Any] = field(default_factory=dict)
    cells: list[dict[str, Any]] = field(default_factory=list)
    values: CaseValues = field(default_factory=CaseValues)
    kept: bool = False

    @classmethod
    def read(cls, folder: Path, about: Mapping[str, Any]) -> Record:
        """The record in a folder, empty if there is none.

        Args:
            folder: with ``cells.json`` and, if the metrics are by case, ``cases.csv``.
            about: settings of the command.

        Raises:
            ConfigError: the folder keeps cells that were made with other settings.
        """
        record = cls(folder, _shared(about), kept=True)
        record.refresh()
        return record

    def refresh(self) -> None:
        """Take in what other processes have kept meanwhile.

        Raises:
            ConfigError: they made it with other settings.
        """
        file, cases = self.folder / "cells.json", self.folder / "cases.csv"
        if not (self.kept and file.is_file()):
            return
        found = json.loads(file.read_text(encoding="utf-8"))
        was, now = found["about"], self.about
        if differing := sorted(key for key in {*was, *now} if was.get(key) != now.get(key)):
            listed = ", ".join(f"{key} {was.get(key)!r} (now {now.get(key)!r})" for key in differing)
            raise ConfigError(
                f"{file} is of a table with other settings: {listed}. Give another --record, or the same settings"
            )
        self.cells = found["cells"]
        self.values = read_cases(cases) if cases.is_file() else CaseValues()

    def check(self, row: str, overlays: str) -> None:
        """Refuse a row whose overlays are no longer those that its cells were trained with.

        Args:
            row: its name; cells for which labelled patients were chosen bear the name of the row before a comma.
            overlays: their digest.

        Raises:
            ConfigError: they differ.
        """
        if any(one.get("overlays") not in (None, overlays) for one in self.cells if _row(one) == row):
            raise ConfigError(
                f"the record has cells of the row {row} that were trained before its overlays were edited. "
                f"--again {row} trains them anew; or give another --record"
            )

    def forget(self, row: str) -> None:
        """Take out all cells of a row, to train it anew."""
        with self._changing():
            self.cells = [one for one in self.cells if _row(one) != row]
            self.values.rows = [line for line in self.values.rows if _row(line) != row]

    def metrics(self, row: str, cell: Cell) -> dict[str, Any] | None:
        """What a cell reported; None if it is not finished."""
        return next((one["metrics"] for one in self.cells if _is(one, row, cell)), None)

    def lines(self, row: str, cell: Cell) -> list[dict[str, str]]:
        """Values of a cell, one line for each case."""
        of = CaseValues.about(row, cell)
        return [line for line in self.values.rows if all(line[key] == value for key, value in of.items())]

    def put(self, row: str, cell: Cell, report: Path, trained: Sequence[Path] = (), overlays: str = "") -> None:
        """Keep what a cell reported, in the place of what is known of it.

        Args:
            row: name of the row.
            cell: of the row.
            report: of the evaluation; ``cases.csv`` lies beside it.
            trained: reports of the training and the phases after it, if they are others: their costs are added.
            overlays: digest of the row's overlays.
        """
        judged, learned = _read(report), [_read(file) for file in trained or [report]]
        spent = {key: _sum([one.get(key) for one in learned]) for key in ("iterations", "seconds", "processor_seconds")}
        cost = {"steps": spent.pop("iterations"), **spent}
        made = {"overlays": overlays} if overlays else {}
        with self._changing():
            self.cells = [one for one in self.cells if not _is(one, row, cell)]
            self.cells.append({"row": row, **asdict(cell), **cost, **made, "metrics": judged.get("metrics", {})})
            known = self.lines(row, cell)
            self.values.rows = [line for line in self.values.rows if line not in known]
            if (report.parent / "cases.csv").is_file():
                self.values.add(row, cell, report.parent / "cases.csv")

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Change what is kept now, one process after the other."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with turn(self.folder):
            self.refresh()
            yield
            if self.values.rows:
                write_cases(self.values, self.folder / "cases.csv")
            write_json({"about": self.about, "cells": self.cells}, self.folder / "cells.json")


def _sum(values: Sequence[float | None]) -> float | None:
    """The sum, if all are known."""
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def without_places(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a command, but for what only one machine knows."""
    return {key: value for key, value in overrides.items() if key not in PLACES}


def _read(report: Path) -> dict[str, Any]:
    return json.loads(report.read_text(encoding="utf-8")) if report.is_file() else {}


def _shared(about: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that all cells have in common, places left out; as they are read back."""
    kept = {key: value for key, value in about.items() if key not in FREE}
    kept["overrides"] = without_places(kept.get("overrides", {}))
    return {key: plain(value) for key, value in kept.items()}


def _row(known: Mapping[str, Any]) -> str:
    return str(known["row"]).partition(", by ")[0]


def _is(known: Mapping[str, Any], row: str, cell: Cell) -> bool:
    return known["row"] == row and all(known[key] == value for key, value in asdict(cell).items())
