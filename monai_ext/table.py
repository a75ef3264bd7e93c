"""Train and evaluate the rows of a paper's table and print it: ``python -m monai_ext.table --bundle prostate_mae``.

Exit codes: 0 the table is complete; 2 the command is wrong; else that of the run that failed (see
:mod:`monai_ext.errors`), 130 after Ctrl-C.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from scipy.stats import t as student_t

from monai_ext.bundle import find_overlay, find_root
from monai_ext.bundle_process import run_bundle_process
from monai_ext.command_line import run_commands, split_names
from monai_ext.data.io.json_file import write_json
from monai_ext.data.io.whole_file import whole_file
from monai_ext.errors import BundleError, ConfigError
from monai_ext.phases.chain import Phase, earlier_phases, phase_file, runnable_ids
from monai_ext.phases.identity import settings_of
from monai_ext.versions import versions

__all__ = ["Row", "RunError", "format_table", "summarize_row", "table"]

OURS = ("bundle_root", "run_dir", "output_dir", "seed")  # set for each run, not by the user
SHARED = ("pretrained", "generators", "maps_dir")  # what earlier phases make, in places that rows share


class RunError(BundleError):
    """A run of the table failed; the command ends with that run's exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Row:
    """One row of a table: a bundle's configs under the same overlays and overrides.

    Args:
        name: of the row.
        root: directory of the bundle.
        overlays: config files laid over the bundle's, the row's own last. Its ``_paper_`` holds the paper's figures by
            pattern of a metric's name: ``{"dice_*_slices": 0.42}``.
        overrides: settings of the command line; each goes to those of the configs that have its key.
        phase: ``train``, which ``evaluate`` then judges, or a phase that reports metrics of its own.

    Raises:
        ConfigError: no config has the key of an override, the table sets it itself, or there is no such phase.
    """

    def __init__(
        self, name: str, root: Path, overlays: Sequence[Path], overrides: Mapping[str, Any], phase: str = "train"
    ) -> None:
        self.name, self.root, self.phase = name, root, phase
        phases = (phase, "evaluate") if phase == "train" else (phase,)
        self.files = {p: [phase_file(root / "configs", p), *overlays] for p in phases}
        if not self.files[phase][0].is_file():
            raise ConfigError(f"{root.name} has no phase {phase!r}: there is no {self.files[phase][0]}")
        base = {p: ConfigParser.load_config_file(files[0]) for p, files in self.files.items()}
        if phase == "train" and (missing := {"section", "folds"} - base["evaluate"].keys()):
            raise ConfigError(f"evaluate.json of {root.name} cannot choose its cases: it has no {', '.join(missing)}")
        self.config = {p: ConfigParser.load_config_files(files) for p, files in self.files.items()}
        self.paper: dict[str, float] = self.config[phase].get("_paper_", {})
        self.overrides: dict[str, dict[str, Any]] = {p: {} for p in phases}
        for key, value in overrides.items():
            top = key.replace("::", "#").split("#")[0]
            if top in (*OURS, "model"):
                raise ConfigError(f"--{key} is set for each row and seed by the table; see --out and --seeds")
            known = [p for p in phases if top in base[p]]
            if not known:
                near = difflib.get_close_matches(top, {key for config in base.values() for key in config}, n=1)
                hint = f" (did you mean {near[0]!r}?)" if near else ""
                raise ConfigError(f"no {' or '.join(f'{p}.json' for p in phases)} of {root.name} has {key!r}{hint}")
            for p in known:
                self.overrides[p][key] = value

    def run(self, folder: Path, seed: int, section: str) -> Path:
        """Train and evaluate with one seed what is not finished in ``folder``; an interrupted training goes on.

        What earlier phases make lies beside the rows' folders; rows whose earlier phases have the same settings share
        it.

        Returns:
            The report of the evaluation, or of the phase.

        Raises:
            ConfigError: when ``folder`` holds a training with other settings.
            RunError: when a run fails.
        """
        config, options = self.config[self.phase], self.overrides[self.phase]
        ours = {"bundle_root": self.root, "run_dir": folder}
        output = folder / "output" / self.phase
        train = {**options, **ours, **self._shared(folder), "output_dir": output, "seed": seed}
        settings: list[Any] = [config, options, self._earlier()]
        begun = _recorded(folder)
        if begun not in (None, _digest(settings)):
            raise ConfigError(f"{folder} holds a run with other settings. Give another --out, or remove it")
        report = output / "report.json"
        if not report.is_file():
            _record(folder, settings)
            run_id = next((name for name in reversed(runnable_ids(config)) if name != "run"), "run")
            self._command(run_id, self.files[self.phase], train | ({"resume": True} if begun else {}), seed)
        return report if self.phase != "train" else self._evaluate(folder, seed, section, report)

    def _evaluate(self, folder: Path, seed: int, section: str, trained: Path) -> Path:
        options = dict(self.overrides["evaluate"])
        if section == "validation":  # the fold that training left out
            fold = self.overrides["train"].get("val_fold", self.config["train"].get("val_fold"))
            options |= {"section": "training", "folds": fold}
        else:
            options |= {"section": section}
        output = folder / section
        when = trained.stat().st_mtime_ns if trained.is_file() else None  # another training needs another evaluation
        report, settings = output / "report.json", [self.config["evaluate"], options, when]
        if _recorded(output) != _digest(settings) or not report.is_file():
            report.unlink(missing_ok=True)
            _record(output, settings)
            where = {key: value for key, value in self._shared(folder).items() if key in self.config["evaluate"]}
            ours = {"bundle_root": self.root, "run_dir": folder, **where, "output_dir": output}
            self._command("evaluating", self.files["evaluate"], {**options, **ours}, seed)
        return report

    def _earlier(self) -> dict[str, Any]:
        """Settings of the phases before, seeds apart."""
        parser = ConfigParser()
        parser.read_config([str(file) for file in self.files[self.phase]])
        parser.update({**self.overrides[self.phase], "bundle_root": str(self.root)})
        files = self.files[self.phase]
        phases = {p: Phase(parser, p, files=files).config.get() for p in earlier_phases(parser.get())}
        found = {p: settings_of(config) for p, config in phases.items()}
        return {p: {key: value for key, value in kept.items() if key != "seed"} for p, kept in found.items()}

    def _shared(self, folder: Path) -> dict[str, Path]:
        """Where what the earlier phases make lies, for a row's folder of one seed."""
        config, given = self.config[self.phase], self.overrides[self.phase]
        place = folder.parents[1] / f"shared-{_digest(self._earlier())[:8]}" / folder.name
        names = [n for n in SHARED if n in config and n not in given and str(config[n]).startswith("$")]
        return {n: place / (f"{n}.pt" if n == "pretrained" else n) for n in names}

    def _command(self, run_id: str, files: Sequence[Path], options: Mapping[str, Any], seed: int) -> None:
        print(f"\n== {self.name}, seed {seed}: {run_id}", flush=True)
        command = ["run", run_id, f"--config_file={[str(f) for f in files]!r}"]
        code = run_bundle_process([*command, *(f"--{key}={value}" for key, value in options.items())])
        if code:
            again = "The same command goes on from here when the cause is gone"
            raise RunError(f"{run_id} of {self.name} with seed {seed} ended with code {code}. {again}", abs(code))


def _digest(settings: Any) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()


def _recorded(folder: Path) -> str | None:
    """Digest of the settings with which a folder's run was begun; None if it was not."""
    path = folder / "settings.json"
    return json.loads(path.read_text(encoding="utf-8"))["sha256"] if path.is_file() else None


def _record(folder: Path, settings: Any) -> None:
    write_json({"sha256": _digest(settings), "settings": settings}, folder / "settings.json")


def summarize_row(name: str, reports: Sequence[Mapping[str, Any]], paper: Mapping[str, float]) -> list[dict[str, Any]]:
    """The metrics of a row, from the evaluation's report of each seed.

    The mean is that over the seeds. With two seeds or more its interval is Student's t over them: what another seed
    would give on the same cases. With one it is the report's, a bootstrap over the cases; ``ci_over`` says which.

    Args:
        name: of the row.
        reports: ``metrics`` of the reports, one per seed.
        paper: the paper's figures by pattern.
    """
    found = []
    for metric in reports[0]:
        rows = [report[metric] for report in reports if metric in report]
        means = [row["mean"] for row in rows if row["mean"] is not None]
        entry: dict[str, Any] = {"row": name, "metric": metric, "mean": None, "ci_low": None, "ci_high": None}
        entry |= {"ci_over": None, "seeds": len(means), "values": means}
        if len(means) > 1:
            mean = statistics.fmean(means)
            half = float(student_t.ppf(0.975, len(means) - 1)) * statistics.stdev(means) / math.sqrt(len(means))
            entry |= {"mean": mean, "ci_low": mean - half, "ci_high": mean + half, "ci_over": "seeds"}
        elif means:
            row = next(row for row in rows if row["mean"] is not None)
            known = row["ci_low"] is not None
            entry |= {key: row[key] for key in ("mean", "ci_low", "ci_high")} | {"ci_over": "cases" if known else None}
        entry |= {key: sorted({row.get(key) for row in rows} - {None}) for key in ("n", "groups")}
        entry["paper"] = next((value for pattern, value in paper.items() if fnmatch(metric, pattern)), None)
        found.append(entry)
    return found


def format_table(entries: Sequence[Mapping[str, Any]]) -> str:
    """Markdown, one table per metric with the rows in their order; readable on a screen too."""

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.4f}"

    blocks = []
    for metric in dict.fromkeys(entry["metric"] for entry in entries):
        cells = [["row", "mean", "95 % CI", "seeds", "n", "cases", "paper's own figure"]]
        for entry in (entry for entry in entries if entry["metric"] == metric):
            over = f"{number(entry['ci_low'])} to {number(entry['ci_high'])} ({entry['ci_over']})"
            counts = [", ".join(map(str, entry[key])) or "-" for key in ("n", "groups")]
            paper = [number(entry["paper"])]
            interval = over if entry["ci_over"] else "-"
            cells.append([entry["row"], number(entry["mean"]), interval, str(entry["seeds"]), *counts, *paper])
        widths = [max(map(len, column)) for column in zip(*cells)]
        lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths)) + " |" for line in cells]
        lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
        blocks.append("\n".join([f"### {metric}", "", *lines]))
    notes = [
        "CI: over seeds, Student's t; of one seed, a bootstrap over its cases. n: values behind the mean of one seed.",
        "The paper's own figures were measured by its authors on their data; they are not comparable with ours.",
    ]
    return "\n\n".join([*blocks, *notes]) + "\n"


def table(
    bundle: str,
    rows: str | Sequence[str],
    seeds: int | Sequence[int] = 0,
    section: str = "testing",
    config: str | Sequence[str] = (),
    out: str | None = None,
    metrics: str | Sequence[str] = (),
    phase: str = "train",
    **overrides: Any,
) -> str:
    """Train and evaluate rows of a bundle's table with several seeds, print the table, write table.json and table.md.

    What is finished under --out is not done again, and an interrupted training goes on: after a failure or Ctrl-C give
    the same command again. Exit codes: 0 the table is complete; 2 the command is wrong; else that of the run that
    failed.

    Args:
        bundle: name of the bundle, or its directory.
        rows: overlays in configs/variants/ of the bundle, separated by commas, or files; the bundle's own name is the
            method as it is.
        seeds: separated by commas; each gives a training of its own.
        section: validation (the fold that training leaves out, on which it also chose its best epoch) or a section of
            the datalist: testing.
        config: further overlays for every row, below its own: demo, or files.
        out: folder for everything; BUNDLE/output/table by default.
        metrics: those to print, separated by commas; all by default.
        phase: a phase that reports metrics of its own instead of train: maps.
        **overrides: settings of train.json or evaluate.json for every row: --dataset_dir D --max_epochs 20.
    """
    root = Path(find_root(str(bundle)))
    configs = root / "configs"
    common = [find_overlay(configs, name, "overlay") for name in split_names(config)]
    plan = []
    for name in split_names(rows):
        own = [] if name == root.name else [find_overlay(configs / "variants", name, "row")]
        plan.append(Row(Path(name).stem if own else name, root, common + own, overrides, phase))
    if not plan:
        raise ConfigError("--rows names no row")
    try:
        numbers = [int(seed) for seed in split_names(seeds)]
    except ValueError:
        raise ConfigError(f"--seeds must be whole numbers separated by commas, got {seeds!r}") from None
    folder = Path(out).resolve() if out else root / "output" / ("table" if phase == "train" else f"{phase}_table")

    entries = []
    for row in plan:
        paths = [row.run(folder / row.name / f"seed{seed}", seed, section) for seed in numbers]
        entries += summarize_row(row.name, [json.loads(p.read_text()).get("metrics", {}) for p in paths], row.paper)
    known = dict.fromkeys(entry["metric"] for entry in entries)
    wanted = split_names(metrics)
    if unknown := [name for name in wanted if name not in known]:
        raise ConfigError(f"no row has the metric {', '.join(unknown)}; there are {', '.join(known)}")
    entries = [entry for entry in entries if not wanted or entry["metric"] in wanted]
    text = format_table(entries)
    about = {
        "bundle": root.name,
        "phase": phase,
        "section": section,
        "seeds": numbers,
        "overrides": overrides,
        "versions": versions(),
    }
    write_json({**about, "table": entries}, folder / "table.json")
    with whole_file(folder / "table.md") as temporary:
        temporary.write_text(f"# {root.name}, {section}\n\n{text}", encoding="utf-8")
    return f"\n{text}\n{folder / 'table.md'}"


if __name__ == "__main__":
    run_commands(table, name="python -m monai_ext.table")
