"""Base of the converters of all data sets: collecting cases, folds by patient, the report, and the file itself."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from monai_ext.data.entries import Item, patient_of
from monai_ext.data.io.whole_file import whole_file
from monai_ext.data.preflight import PreflightError, Problem, check_datalist
from monai_ext.errors import ConfigError, DataError

__all__ = ["Collection", "assign_folds", "has_foreground"]


def assign_folds(patients: Mapping[str, bool], num_folds: int = 5) -> dict[str, int]:
    """Stratified fold of each patient: positives and negatives are each dealt out evenly, in the order of a hash.

    The folds depend only on the patients, not on the machine or on the order in which their files were found.
    """
    if num_folds < 2:
        raise ConfigError(f"num_folds is {num_folds}; it must be at least 2")
    dealt = sorted(patients, key=lambda p: (not patients[p], _hash(p)))
    return {patient: index % num_folds for index, patient in enumerate(dealt)}


def _hash(patient: str) -> str:
    return hashlib.sha256(patient.encode()).hexdigest()


def has_foreground(mask: Path) -> bool:
    """Whether a NIfTI mask has a voxel above zero; False if it is missing or unreadable, which the check reports."""
    try:
        return bool((np.asanyarray(nib.load(mask).dataobj) > 0).any())  # type: ignore[attr-defined]
    except Exception:  # nibabel raises anything from EOFError to ImageFileError
        return False


@dataclass
class Collection:
    """Collector of the cases of one data set, from which it writes a datalist.

    Args:
        name: name of the data set, for the report.
        root: directory to which the paths of the datalist are relative.
        labels: names of the label values, written into the datalist if they are known.
    """

    name: str
    root: Path
    sections: dict[str, list[Item]] = field(default_factory=lambda: {"training": [], "unlabelled": [], "testing": []})
    positive: dict[str, bool] = field(default_factory=dict)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    faults: list[Problem] = field(default_factory=list)
    labels: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root = Path(os.path.abspath(os.path.expanduser(self.root)))
        if not self.root.is_dir():
            raise ConfigError(f"--root {self.root} is not a directory")

    def add(
        self,
        case: str,
        images: Mapping[str, Path],
        masks: Mapping[str, Path | None] | None = None,
        patient: str | None = None,
        positive: bool | None = None,
        testing: bool = False,
        **about: Any,
    ) -> None:
        """Add a case.

        Args:
            case: id of the case, unique in the data set.
            images: files by key that every case must have; a missing one is an error of the data set.
            masks: files by key that a case may lack. A case without ``label`` goes to the section "unlabelled".
            patient: id of the patient; the id of the case by default.
            positive: True when there is a lesion; None reads it from the mask ``label``.
            testing: True for a case of the official test set.
            about: further fields, such as ``fold`` for an official fold.
        """
        present = {key: path for key, path in (masks or {}).items() if path is not None and path.exists()}
        paths = {key: self._relative(path) for key, path in {**images, **present}.items()}
        item = {"id": case, "patient": patient or case, **about, **paths}
        section = "testing" if testing else "training" if "label" in paths else "unlabelled"
        self.sections[section].append(item)
        self.positive[case] = (
            has_foreground(present["label"]) if positive is None and "label" in present else positive is True
        )

    def skip(self, case: str, reason: str) -> None:
        """Leave a case out and say why in the report."""
        self.skipped.append((case, reason))

    def fault(self, case: str, file: object, cause: str, remedy: str) -> None:
        """Record an error of a case that only the converter can see; :meth:`write` reports it with all others."""
        self.faults.append(Problem("error", case, str(file), cause, remedy))

    def hold_out(self, count: int) -> None:
        """Move the labelled cases of ``count`` patients, the last in the order of a hash, to the section "testing"."""
        if count == 0:
            return
        patients = sorted({patient_of(item) for item in self.sections["training"]}, key=_hash)
        if not 0 < count < len(patients):
            raise ConfigError(f"--num_testing is {count}; there are {len(patients)} patients with labels")
        chosen = set(patients[len(patients) - count :])
        for item in self.sections["training"]:
            if patient_of(item) in chosen:
                item.pop("fold", None)
                self.sections["testing"].append(item)
        for name in ("training", "unlabelled"):
            self.sections[name] = [item for item in self.sections[name] if patient_of(item) not in chosen]

    def write(self, out: str | Path, num_folds: int = 5, skip_incomplete: bool = False) -> str:
        """Check all files, give folds to the cases that have none, write the datalist atomically; return the report.

        Raises:
            DataError: lists all missing or unreadable files, and nothing is written, unless ``skip_incomplete`` leaves
                those cases out.
            ConfigError: ``out`` cannot be written.
        """
        out = Path(out)
        self.sections = {name: items for name, items in self.sections.items() if items}
        if not self.sections:
            raise DataError(
                f"no case of {self.name} was found", "Check --root against the expected layout.", file=self.root
            )
        self._fold(num_folds)
        problems = [*self.faults, *check_datalist(self.sections, self.root, same_grid=())]
        errors = [problem for problem in problems if problem.severity == "error"]
        if errors and not (skip_incomplete and all(problem.case for problem in errors)):
            raise PreflightError(errors)
        self._drop({problem.case: f"{problem.file} {problem.cause}" for problem in errors})
        names = {"labels": {str(value): name for value, name in self.labels.items()}} if self.labels else {}
        text = json.dumps({"name": self.name, **names, **self.sections}, indent=1) + "\n"
        try:
            with whole_file(out) as temporary:
                temporary.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot write --out {out}: {error}") from error
        return self.report() + f"\n\nwrote {out}; its paths are relative to {self.root}"

    def report(self) -> str:
        """Cases, patients and positives of each section and fold, and what was left out."""
        rows: list[tuple[str, Iterable[Item]]] = []
        for name, items in self.sections.items():
            rows.append((name, items))
            folds = sorted({item["fold"] for item in items if "fold" in item})
            rows += [(f"  fold {fold}", [item for item in items if item.get("fold") == fold]) for fold in folds]
        lines = [f"{self.name:<16}{'cases':>8}{'patients':>10}{'positive':>10}"]
        for name, chosen in rows:
            cases = list(chosen)
            positives = sum(self.positive[item["id"]] for item in cases)
            lines.append(f"{name:<16}{len(cases):>8}{len({patient_of(item) for item in cases}):>10}{positives:>10}")
        lines += [f"skipped: {len(self.skipped)}"] + [f"  {case}: {reason}" for case, reason in self.skipped]
        return "\n".join(lines)

    def _relative(self, path: Path) -> str:
        absolute = Path(os.path.abspath(path))
        if not absolute.is_relative_to(self.root):
            raise ConfigError(f"{absolute} is not below --root {self.root}: give a root that holds images and masks")
        return absolute.relative_to(self.root).as_posix()

    def _fold(self, num_folds: int) -> None:
        """Folds by patient for the cases that have no official one."""
        loose = [
            item for name in self.sections if name != "testing" for item in self.sections[name] if "fold" not in item
        ]
        patients: dict[str, bool] = {}
        for item in loose:
            patients[patient_of(item)] = patients.get(patient_of(item), False) or self.positive[item["id"]]
        folds = assign_folds(patients, num_folds)
        for item in loose:
            item["fold"] = folds[patient_of(item)]

    def _drop(self, reasons: Mapping[str, str]) -> None:
        for case, reason in reasons.items():
            self.skip(case, reason)
        kept = {name: [item for item in items if item["id"] not in reasons] for name, items in self.sections.items()}
        self.sections = {name: items for name, items in kept.items() if items}
        if not self.sections:
            raise DataError(f"every case of {self.name} is incomplete", "Check --root.", file=self.root)
