"""Train and evaluate the rows of a table and print it: ``python -m monai_ext.table --bundle prostate_mae``.

Exit codes: 0 the table is complete; 2 the command is wrong; else that of the run that failed (see
:mod:`monai_ext.errors`), 130 after Ctrl-C.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_ext.bundle import find_overlay, find_root, find_row
from monai_ext.command_line import split_names
from monai_ext.data.io.claim import turn
from monai_ext.data.io.json_file import write_json
from monai_ext.data.io.whole_file import whole_file
from monai_ext.errors import ConfigError
from monai_ext.plan import plan
from monai_ext.select import select
from monai_ext.select.command import WAYS
from monai_ext.table.cases import CaseValues
from monai_ext.table.layout import format_table
from monai_ext.table.page import write_page
from monai_ext.table.record import Record, without_places
from monai_ext.table.row import Cell, Row, digest
from monai_ext.versions import versions

__all__ = ["table"]

PLANNED = ("datalist", "dataset_dir", "num_labelled", "modalities", "stacked")  # settings that a plan is made from


@dataclass
class _Table:
    """A table that is being filled."""

    root: Path
    folder: Path
    names: list[str]
    common: list[Path]
    overrides: dict[str, Any]
    phase: str
    section: str
    minutes: float | None
    kept: Path
    record: Record
    papers: dict[str, dict[str, float]] = field(default_factory=dict)  # of the rows that the command trains
    rows: dict[tuple[str, int | None], Row] = field(default_factory=dict)
    overlays: dict[str, str] = field(default_factory=dict)  # digest of each row's, as the command found them

    def label(self, name: str) -> str:
        """A row's name without the folders of its files."""
        return name if name == self.root.name else "+".join(Path(part).stem for part in name.split("+"))

    def own(self, name: str) -> list[Path]:
        """The overlays of a row; the bundle's own name has none."""
        return [] if name == self.root.name else find_row(self.root, name)

    def read_overlays(self, name: str) -> str:
        """Digest of what the overlays of a row set; what they only tell does not count."""
        files = [ConfigParser.load_config_file(str(file)) for file in (*self.common, *self.own(name))]
        return digest([{k: v for k, v in one.items() if k[:6] != "_desc_" and k != "_paper_"} for one in files])

    def paper(self, name: str) -> dict[str, float]:
        """The paper's figures of a row; those of the modality that is trained on, where it has some for each."""
        files = (self.root / "configs/train.json", *self.common, *self.own(name))
        overlays = [ConfigParser.load_config_file(str(file)) for file in files]
        found: dict[str, Any] = next((overlay["_paper_"] for overlay in reversed(overlays) if "_paper_" in overlay), {})
        if not any(isinstance(figures, dict) for figures in found.values()):
            return found
        overlays.append(self.overrides)
        named: Any = next((overlay["modalities"] for overlay in reversed(overlays) if "modalities" in overlay), [])
        modalities = split_names(named)
        return found.get(modalities[0], {}) if len(modalities) == 1 else {}

    def paper_of(self, row: str) -> dict[str, float]:
        """The paper's figures of a row of the record; none where another command trained it from a file elsewhere."""
        if row not in self.papers:
            with suppress(ConfigError):
                return self.paper(row.partition(", by ")[0])
        return self.papers.get(row, {})

    def row(self, name: str, fold: int | None = None) -> Row:
        """A row, planned for the minutes if there are any; each fold has a plan of its own, made without its labels."""
        if (name, fold) not in self.rows:
            planned = [] if self.minutes is None else [self._plan(name, fold)]
            overlays = [*self.common, *planned, *self.own(name)]
            self.rows[name, fold] = Row(self.label(name), self.root, overlays, self.overrides, self.phase)
        return self.rows[name, fold]

    def _plan(self, name: str, fold: int | None) -> Path:
        file = self.kept / self.label(name) / f"plan{'' if fold is None else f'_fold{fold}'}.json"
        with turn(file):  # another process may plan it now
            if not file.is_file():
                self._write_plan(file, name, fold)
        return file

    def _write_plan(self, file: Path, name: str, fold: int | None) -> None:
        given = {key: self.overrides[key] for key in PLANNED if key in self.overrides}
        own = [str(file) for file in self.own(name)]
        phases = ConfigParser.load_config_files(own).get("_minutes_", 1) if own else 1
        print(f"\n== {self.label(name)}: plan", flush=True)
        with whole_file(file) as new:
            chosen = {"val_fold": fold, "row": "+".join(own) or None, "out": str(new)}
            plan(self.root.name, minutes=phases * self.minutes, **given, **chosen)  # type: ignore[arg-type, operator]
            planned = json.loads(new.read_text())
            # A row says itself which phases it has, the command which data.
            for key in ("semi_supervised", "datalist", "dataset_dir", "num_labelled", "val_fold"):
                planned.pop(key, None)
            write_json(planned, new)

    def forget(self, rows: Sequence[str]) -> None:
        """Take rows out of the record, with their plans."""
        for row in rows:
            self.record.forget(row)
            for file in (self.kept / row).glob("plan*.json"):
                file.unlink()

    def chosen(self, row: Row, folder: Path, cell: Cell) -> Path | None:
        """Datalist whose labelled patients were chosen for a cell, by the encoder that its training starts from."""
        if cell.choice is None:
            return None
        file = folder / "chosen.json"
        if not file.is_file():
            print(f"\n== {row.name}, {cell.name.replace('_', ', ')}: select", flush=True)
            given = row.overrides["train"] | {key: str(path) for key, path in row.shared(folder, cell).items()}
            given = {**given, "num": given["num_labelled"], "val_fold": given.get("val_fold")}
            given |= {} if cell.fold is None else {"val_fold": cell.fold}
            given.pop("num_labelled")
            overlays = [str(path) for path in row.files["train"][1:]]
            select(self.root, labelled="none", by=cell.choice, config=overlays, out=file, **given)
        return file

    def name_of(self, row: str, cell: Cell) -> str:
        """Under which the values of a cell are kept: a choice of the labelled patients is a row of its own."""
        return row if cell.choice is None else f"{row}, by {cell.choice}"

    def run(self, cells: Sequence[Cell], against: str | None, wanted: Sequence[str], about: Mapping[str, Any]) -> str:
        """Run all cells, those of one draw in all rows before those of the next; write what there is after each."""
        text = ""
        for cell in cells:
            for name in self.names:
                kept = self.name_of(self.label(name), cell)
                of = cell.name if self.phase == "train" else f"{self.phase}_{cell.name}"
                place = self.folder / self.label(name) / of
                self.record.refresh()
                if place.is_dir() or self.record.metrics(kept, cell) is None:
                    row = self.row(name, cell.fold)
                    report = row.run(place, cell, self.section, self.chosen(row, place, cell))
                    self.record.put(kept, cell, report, row.reports(place), self.overlays[name])
                self.papers[kept] = self.paper(name)
            text = self.write(against, wanted, about)
        return text

    def write(self, against: str | None, wanted: Sequence[str], about: Mapping[str, Any]) -> str:
        """Write ``cases.csv``, ``table.json`` and ``table.md`` of all that is finished; return the command's rows."""
        entries = self.entries(against)
        known = dict.fromkeys(entry["metric"] for entry in entries)
        if unknown := [pattern for pattern in wanted if not any(fnmatch(name, pattern) for name in known)]:
            raise ConfigError(f"no row has the metric {', '.join(unknown)}; there are {', '.join(known)}")
        shown = [e for e in entries if not wanted or any(fnmatch(e["metric"], pattern) for pattern in wanted)]
        for row in self.papers:
            own = [entry for entry in entries if entry["row"] == row]
            write_page(self.record.values, row, own, self.folder / row, self.section)
        about = about if self.kept == self.folder else {**about, "overrides": without_places(about["overrides"])}
        write_json({**about, "versions": versions(), "table": shown}, self.kept / "table.json")
        text = f"# {self.root.name}, {self.section}\n\n{format_table(shown, against)}"
        with whole_file(self.kept / "table.md") as temporary:
            temporary.write_text(text, encoding="utf-8")
        return format_table([entry for entry in shown if entry["row"] in self.papers], against)

    def entries(self, against: str | None) -> list[dict[str, Any]]:
        """Every row of the record with every metric."""
        found, values = [], self.record.values
        of_cases = values.metrics
        reports: dict[str, list[dict[str, Any]]] = {}
        for cell in self.record.cells:
            reports.setdefault(cell["row"], []).append(cell["metrics"])
        for row, own in reports.items():
            paper = self.paper_of(row)
            for metric in dict.fromkeys(name for report in own for name in report):
                summary = _of_cases(values, row, metric) if metric in of_cases else _of_reports(metric, own)
                entry = {"row": row, "metric": metric, **summary}
                entry["paper"] = next((value for pattern, value in paper.items() if fnmatch(metric, pattern)), None)
                drawn = row.rpartition(", by ")[0]
                if drawn in reports and metric in of_cases:
                    gain, beaten = values.against_draws(row, drawn, metric)
                    entry |= {"gain": _plain(gain), "beaten": None if beaten != beaten else beaten}
                elif against and row != against and metric in of_cases:
                    entry["difference"] = _plain(values.difference(row, against, metric))
                found.append(entry)
        return found


def _of_cases(values: CaseValues, row: str, metric: str) -> dict[str, Any]:
    """Of the values of a row's cases."""
    summary = _plain(values.summary(row, metric))
    return {**summary, "n": summary.pop("patients"), "seeds": len(values.seeds(row))}


def _of_reports(metric: str, reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of what the trainings of a row report, where there are no values of cases."""
    rows = [report[metric] for report in reports if metric in report]
    means = [known["mean"] for known in rows if known["mean"] is not None]
    mean = sum(means) / len(means) if means else None
    ends = {key: rows[0][key] if len(rows) == 1 else None for key in ("ci_low", "ci_high")}
    return {"mean": mean, **ends, "n": rows[0].get("n"), "draws": 1, "seeds": len(means), "values": means}


def _plain(summary: Mapping[str, Any]) -> dict[str, Any]:
    """For JSON, which has no NaN."""
    return {key: None if value != value else value for key, value in summary.items()}


def _numbers(name: str, given: Any) -> list[int]:
    try:
        return [int(number) for number in split_names(given)]
    except ValueError:
        raise ConfigError(f"--{name} must be whole numbers separated by commas, got {given!r}") from None


def table(
    bundle: str,
    rows: str | Sequence[str],
    seeds: int | Sequence[int] = 0,
    section: str = "testing",
    config: str | Sequence[str] = (),
    out: str | None = None,
    metrics: str | Sequence[str] = (),
    phase: str = "train",
    draws: int | Sequence[int] = (),
    folds: int | Sequence[int] = (),
    against: str | None = None,
    minutes: float | None = None,
    choices: str | Sequence[str] = (),
    record: str | None = None,
    again: str | Sequence[str] = (),
    **overrides: Any,
) -> str:
    """Train and evaluate rows of a bundle's table, print the table, write cases.csv, table.json and table.md.

    A row of one training per patient (folds in turn, --section validation) gets ROW/report.html too, with all cases,
    worst first.

    A row is trained once for each seed, draw and fold. Intervals are over test patients and draws, see
    :func:`monai_ext.metrics.summarize_crossed`. What is finished under --out is not done again, and an interrupted
    training goes on: after a failure or Ctrl-C give the same command again. All rows of one draw come before the next
    draw, and the table is written after each. Exit codes: 0 the table is complete; 2 the command is wrong; else that of
    the run that failed.

    Args:
        bundle: name of the bundle, or its directory.
        rows: overlays in configs/variants/ of the bundle, separated by commas, or files; the bundle's own name is the
            method as it is, and a+b lays b over a.
        seeds: of initialisation and sampling, separated by commas.
        section: validation (the fold that training leaves out) or a section of the datalist: testing.
        config: further overlays for every row, below its own: demo, or files.
        out: folder for everything; BUNDLE/output/table by default.
        metrics: those to print, separated by commas, also as patterns: auroc_*; all by default.
        phase: a phase that reports metrics of its own instead of train: maps.
        draws: of the labelled patients (label_seed), the same for all rows; give --num_labelled, or --label_fraction.
        folds: to leave out in turn, for a cross-validation with --section validation.
        against: a row that the others are compared with, patient by patient and draw by draw.
        minutes: plan each row for so many minutes a phase (monai_ext.plan), or that multiple of them that its
            ``_minutes_`` says, all before the first training; needs --datalist and --dataset_dir.
        choices: encoder, statistics: choose the labelled patients by monai_ext.select too, after the draws, and say
            which share of the draws that beats; needs --num_labelled, --datalist and --dataset_dir.
        record: folder for the plans and the table's files instead of --out. What its cells.json and cases.csv know is
            not trained again, also where --out is gone: a table can be finished on another machine. Several processes
            may share it, each with rows, seeds, draws or folds and an --out of its own: on several GPUs, say. The
            command prints its own rows; the table's files have all rows that the record knows. A row whose overlays
            were edited since is refused.
        again: rows whose cells in the record are forgotten with their plans, to be trained anew.
        **overrides: settings of train.json or evaluate.json for every row: --dataset_dir D --max_epochs 20.
    """
    root = Path(find_root(str(bundle)))
    names = split_names(rows)
    if not names:
        raise ConfigError("--rows names no row")
    common = [find_overlay(root / "configs", name) for name in split_names(config)]
    folder = Path(out).resolve() if out else root / "output" / ("table" if phase == "train" else f"{phase}_table")
    if minutes is not None and not {"datalist", "dataset_dir"} <= overrides.keys():
        raise ConfigError("--minutes plans for a data set: give --datalist and --dataset_dir")
    kept = Path(record).resolve() if record else folder
    filled = _Table(root, folder, names, common, dict(overrides), phase, section, minutes, kept, Record(kept))
    labels = [filled.label(name) for name in names]
    if against is not None and against not in labels:
        raise ConfigError(f"--against {against!r} is none of the rows {', '.join(labels)}")
    anew = split_names(again)
    if anew and not (record and set(anew) <= set(labels)):
        raise ConfigError(
            f"--again {','.join(anew)} forgets rows of a --record that are trained now: {', '.join(labels)}"
        )
    axes: dict[str, list[int]] = {
        name: _numbers(name, given) for name, given in (("seeds", seeds), ("draws", draws), ("folds", folds))
    }
    ways = split_names(choices)
    if unknown := [way for way in ways if way not in WAYS]:
        raise ConfigError(f"--choices {unknown[0]!r} is none of {', '.join(WAYS)}")
    if ways and not {"datalist", "dataset_dir", "num_labelled"} <= overrides.keys():
        raise ConfigError("--choices chooses patients of a data set: give --datalist, --dataset_dir and --num_labelled")
    levels: list[list[Any]] = [numbers or [None] for numbers in axes.values()]
    cells = [Cell(seed, draw, fold) for seed, draw, fold in itertools.product(*levels)]
    cells = cells if axes["draws"] or not ways else []
    cells += [Cell(seed, None, fold, way) for way in ways for seed in levels[0] for fold in levels[2]]
    # A row that there is not ends the command before any work.
    filled.overlays = {name: filled.read_overlays(name) for name in names}
    about: dict[str, Any] = {
        "bundle": root.name,
        "phase": phase,
        "section": section,
        "minutes": minutes,
        **axes,
        "choices": ways,
    }
    about |= {"against": against, "overrides": overrides}
    if record:
        filled.record = Record.read(kept, about | {"config": split_names(config)})
        filled.forget(anew)
        for name in names:
            filled.record.check(filled.label(name), filled.overlays[name])
    # A wrong setting ends the command before any work; plans time their steps while nothing else runs.
    for fold, name in itertools.product([None] if minutes is None else levels[2], names):
        filled.row(name, fold)
    text = filled.run(cells, against, split_names(metrics), about)
    return f"\n{text}\n{kept / 'table.md'}"
