"""One row of a table: which runs it needs, and what of them is done."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_ext.bundle import setting_of
from monai_ext.bundle_process import run_bundle_process
from monai_ext.data.io.json_file import write_json
from monai_ext.errors import BundleError, ConfigError
from monai_ext.phases.chain import Phase, earlier_phases, later_phases, phase_file, runnable_ids
from monai_ext.phases.identity import settings_of
from monai_ext.phases.later import LaterPhase

__all__ = ["Cell", "Row", "RunError", "digest"]

OURS = ("bundle_root", "run_dir", "output_dir", "seed")  # set for each run, not by the user
# What earlier phases make, in places that rows share, and the phase that makes it.
SHARED = {"pretrained": "pretrain", "generators": "reconstruct", "maps_dir": "maps"}


class RunError(BundleError):
    """A run of the table failed; the command ends with that run's exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Cell:
    """One training of a row.

    Attributes:
        seed: of the initialisation and the sampling.
        draw: of the labelled patients; None leaves ``label_seed`` as it is.
        fold: that training leaves out; None leaves ``val_fold`` as it is.
        choice: by what ``monai_ext.select`` chose the labelled patients instead of a draw: ``encoder``, ``statistics``.
    """

    seed: int = 0
    draw: int | None = None
    fold: int | None = None
    choice: str | None = None

    @property
    def name(self) -> str:
        """Of its folder."""
        parts = {"fold": self.fold, "draw": self.draw, "by": self.choice, "seed": self.seed}
        return "_".join(f"{key}{value}" for key, value in parts.items() if value is not None)

    @property
    def settings(self) -> dict[str, int]:
        """Of the training."""
        found = {"val_fold": self.fold, "label_seed": self.draw, "seed": self.seed}
        return {key: value for key, value in found.items() if value is not None}

    @property
    def without_labels(self) -> Cell:
        """What a pretraining that looks at no labels depends on: it sees all scans, whoever is drawn."""
        return Cell(self.seed, None, self.fold)


class Row:
    """One row of a table: a bundle's configs under the same overlays and overrides.

    Args:
        name: of the row.
        root: directory of the bundle.
        overlays: config files laid over the bundle's, the row's own last. Its ``_paper_`` holds the paper's figures by
            pattern of a metric's name: ``{"dice_*_slices": 0.42}``; or such by modality: ``{"ct": {"dice": 0.5}}``.
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
        self.overrides: dict[str, dict[str, Any]] = {p: {} for p in phases}
        for key, value in overrides.items():
            top = setting_of(key)
            if top in (*OURS, "model"):
                raise ConfigError(f"--{key} is set for each row and seed by the table; see --out and --seeds")
            known = [p for p in phases if top in base[p]]
            if not known:
                near = difflib.get_close_matches(top, {key for config in base.values() for key in config}, n=1)
                hint = f" (did you mean {near[0]!r}?)" if near else ""
                raise ConfigError(f"no {' or '.join(f'{p}.json' for p in phases)} of {root.name} has {key!r}{hint}")
            for p in known:
                self.overrides[p][key] = value

    def run(self, folder: Path, cell: Cell, section: str, chosen: Path | None = None) -> Path:
        """Train and evaluate what is not finished of a cell in ``folder``; an interrupted training goes on.

        What earlier phases make lies beside the rows' folders; rows whose earlier phases have the same settings share
        it, and so do draws, and tables of several phases in one folder.

        Args:
            folder: of the cell.
            cell: what is trained.
            section: that the training is judged on.
            chosen: datalist whose labelled patients all train, instead of a draw.

        Returns:
            The report of the evaluation, or of the phase; ``cases.csv`` lies beside it.

        Raises:
            ConfigError: when ``folder`` holds a training with other settings.
            RunError: when a run fails.
        """
        config, options = self.config[self.phase], self.overrides[self.phase]
        ours = {"bundle_root": self.root, "run_dir": folder}
        output = folder / "output" / self.phase
        self._check(cell)
        train = {**options, **ours, **self.shared(folder, cell), "output_dir": output, **cell.settings}
        if chosen is not None:
            train |= {"datalist": chosen, "num_labelled": None, "label_fraction": 1.0}
        last = self._last(folder)
        settings: list[Any] = [config, options, self._earlier]
        settings += [] if last is None else [settings_of(last.config.get())]
        begun = _recorded(folder)
        if begun not in (None, digest(settings)):
            raise ConfigError(f"{folder} holds a run with other settings. Give another --out, or remove it")
        report = output / "report.json" if last is None else Path(last.get("output_dir", "")) / "report.json"
        if not report.is_file():
            _record(folder, settings)
            run_id = next((name for name in reversed(runnable_ids(config)) if name != "run"), "run")
            self._command(run_id, self.files[self.phase], train | ({"resume": True} if begun else {}), cell)
        return report if self.phase != "train" else self._evaluate(folder, cell, section, report)

    def reports(self, folder: Path) -> list[Path]:
        """Reports of a cell's phase and those after it; the earlier ones, which rows share, may report there too."""
        phases = (self.phase, *later_phases(self.config[self.phase]))
        return [file for phase in phases if (file := folder / "output" / phase / "report.json").is_file()]

    def _check(self, cell: Cell) -> None:
        """A draw needs a number of labelled patients, and both need their settings."""
        known = self.config[self.phase]
        for key in cell.settings:
            if key not in known:
                raise ConfigError(f"{self.phase}.json of {self.root.name} has no {key}: leave its option out")

    def _last(self, folder: Path) -> LaterPhase | None:
        """The phase after the training that a row's cell ends with, if it asks for one."""
        parser, files = self._parser(), self.files[self.phase]
        parser.update({"run_dir": str(folder)})
        phases = [LaterPhase(parser, name, files) for name in later_phases(parser.get())]
        return next((phase for phase in reversed(phases) if phase.get("wanted", True)), None)

    def _evaluate(self, folder: Path, cell: Cell, section: str, trained: Path) -> Path:
        options = dict(self.overrides["evaluate"])
        if section == "validation":  # the fold that training left out
            fold = self.overrides["train"].get("val_fold", self.config["train"].get("val_fold"))
            fold = fold if cell.fold is None else cell.fold
            options |= {"section": "training", "folds": fold}
        else:
            options |= {"section": section}
        output = folder / section
        when = trained.stat().st_mtime_ns if trained.is_file() else None  # another training needs another evaluation
        report, settings = output / "report.json", [self.config["evaluate"], options, when]
        if _recorded(output) != digest(settings) or not report.is_file():
            report.unlink(missing_ok=True)
            _record(output, settings)
            where = {key: value for key, value in self.shared(folder, cell).items() if key in self.config["evaluate"]}
            ours = {"bundle_root": self.root, "run_dir": folder, **where, "output_dir": output}
            self._command("evaluating", self.files["evaluate"], {**options, **ours}, cell)
        return report

    def _parser(self) -> ConfigParser:
        """The config of the row, with its overlays and settings."""
        parser = ConfigParser()
        parser.read_config([str(file) for file in self.files[self.phase]])
        parser.update({**self.overrides[self.phase], "bundle_root": str(self.root)})
        return parser

    @cached_property
    def _earlier(self) -> dict[str, Any]:
        """Settings of the phases before, seeds apart."""
        parser, files = self._parser(), self.files[self.phase]
        phases = {p: Phase(parser, p, files=files).config.get() for p in earlier_phases(parser.get())}
        found = {p: settings_of(config) for p, config in phases.items()}
        return {p: {key: value for key, value in kept.items() if key != "seed"} for p, kept in found.items()}

    def shared(self, folder: Path, cell: Cell) -> dict[str, Path]:
        """Where what the earlier phases make lies, for a row's folder of a cell.

        Draws share it, unless a pretraining knows the lesions of the labelled patients, as lesion-aware masking does.
        """
        config, given, place = self.config[self.phase], self.overrides[self.phase], folder.parents[1]
        names = [n for n in SHARED if n in config and n not in given and str(config[n]).startswith("$")]
        found = {}
        for name in names:
            made = self._made_by(SHARED[name])
            of = cell if any("label_seed" in kept for kept in made.values()) else cell.without_labels
            file = f"{name}.pt" if name == "pretrained" else name
            found[name] = place / f"shared-{digest(made)[:8]}" / of.name / file
        return found

    def _made_by(self, phase: str) -> dict[str, Any]:
        """Settings of a phase and those before it: rows and tables for which they are the same share what it makes."""
        phases = list(self._earlier)
        last = phases.index(phase) + 1 if phase in phases else None
        return {name: self._earlier[name] for name in phases[:last]}

    def _command(self, run_id: str, files: Sequence[Path], options: Mapping[str, Any], cell: Cell) -> None:
        what = cell.name.replace("_", ", ")
        print(f"\n== {self.name}, {what}: {run_id}", flush=True)
        command = ["run", run_id, f"--config_file={[str(f) for f in files]!r}"]
        code = run_bundle_process([*command, *(f"--{key}={value}" for key, value in options.items())])
        if code:
            again = "The same command goes on from here when the cause is gone"
            raise RunError(f"{run_id} of {self.name} ({what}) ended with code {code}. {again}", abs(code))


def digest(settings: Any) -> str:
    """Of settings, which JSON can hold."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()


def _recorded(folder: Path) -> str | None:
    """Digest of the settings with which a folder's run was begun; None if it was not."""
    path = folder / "settings.json"
    return json.loads(path.read_text(encoding="utf-8"))["sha256"] if path.is_file() else None


def _record(folder: Path, settings: Any) -> None:
    write_json({"sha256": digest(settings), "settings": settings}, folder / "settings.json")
