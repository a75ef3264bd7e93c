"""Who may be chosen: the patients of a datalist by what they are for, and the datalist after a choice."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai_ext.command_line import split_names
from monai_ext.data import check_datalist
from monai_ext.data.datalist import with_absolute_paths
from monai_ext.data.entries import Folds, Item, case_of, patient_of, read_datalist, select
from monai_ext.data.io.json_file import write_json
from monai_ext.data.preflight import PreflightError
from monai_ext.errors import ConfigError, DataError

__all__ = ["Patients", "read_patients", "write_choice"]

SECTIONS = ("training", "unlabelled")  # whose patients teach


@dataclass
class Patients:
    """The patients that may teach.

    Attributes:
        scans: items of each patient, with absolute paths, patients in the order of their ids.
        labelled: patients that have labels already.
        broken: why a case cannot be used, by case.
        held_out: patients of the validation fold.
        judging: those of them that have labels, by whom a training is judged.
    """

    scans: dict[str, list[Item]] = field(default_factory=dict)
    labelled: set[str] = field(default_factory=set)
    broken: dict[str, str] = field(default_factory=dict)
    held_out: set[str] = field(default_factory=set)
    judging: set[str] = field(default_factory=set)


def read_patients(
    datalist: str | Path, dataset_dir: str | Path, val_fold: Folds = None, labelled: Any = None
) -> Patients:
    """Patients of ``training`` and ``unlabelled`` without those of the validation fold.

    Args:
        datalist: the JSON.
        dataset_dir: the directory that its paths are relative to.
        val_fold: fold that trains nothing.
        labelled: which patients have labels: ids separated by commas, the name of a section, or ``none``; by default
            those whose item in ``training`` has one.

    Raises:
        DataError: the datalist cannot be read or used, or has no such patients.
        ConfigError: an unknown patient in ``labelled``.
    """
    sections = read_datalist(datalist)
    names = [name for name in SECTIONS if sections.get(name)]
    items = {name: select(sections[name], exclude_folds=val_fold) for name in names}
    pool = [item for found in items.values() for item in found]
    if not pool:
        without = "" if val_fold is None else f" outside of fold {val_fold}"
        raise DataError(f"there is no patient in {' or '.join(SECTIONS)}{without}", "Check --val_fold.", file=datalist)
    used = [name for name in names if items[name]]
    problems = check_datalist(sections, dataset_dir, used, exclude_folds=val_fold)
    errors = [problem for problem in problems if problem.severity == "error"]
    if whole := [problem for problem in errors if not problem.case]:
        raise PreflightError(whole, file=datalist)
    found = Patients()
    for item in sorted(pool, key=lambda item: (patient_of(item), case_of(item))):
        found.scans.setdefault(patient_of(item), []).append(with_absolute_paths(item, dataset_dir))
    cases = {case_of(item) for item in pool}
    for problem in errors:
        if problem.case in cases:
            found.broken.setdefault(problem.case, f"{problem.cause}. {problem.remedy}")
    held_out = [] if val_fold is None else [i for n in names for i in select(sections[n], folds=val_fold)]
    found.held_out = set(map(patient_of, held_out))
    found.judging = {patient_of(item) for item in held_out if item.get("label")}
    found.labelled = _labelled(labelled, sections, items, found)
    return found


def _labelled(
    asked: Any, sections: Mapping[str, list[Item]], items: Mapping[str, list[Item]], patients: Patients
) -> set[str]:
    if asked is None:
        return {patient_of(item) for item in items.get("training", []) if item.get("label")}
    words = split_names(asked)
    if [word.lower() for word in words] in ([], ["none"]):
        return set()
    if len(words) == 1 and words[0] in sections and words[0] not in patients.scans:
        return {patient_of(item) for item in items.get(words[0], [])}
    of_case = {case_of(item): patient for patient, scans in patients.scans.items() for item in scans}
    found = set()
    for word in words:
        patient = word if word in patients.scans else of_case.get(word)
        if patient is None:
            near = difflib.get_close_matches(word, [*patients.scans, *of_case], n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ConfigError(f"--labelled names {word!r}, no patient or section that trains{hint}")
        found.add(patient)
    return found


def write_choice(datalist: str | Path, out: Path, val_fold: Folds, teaching: Collection[str]) -> None:
    """Write a datalist in which some patients are ``training`` and the others ``unlabelled``, without their labels.

    Other sections, the validation fold and what else the datalist holds stay as they are.

    Args:
        datalist: the one that was chosen from.
        out: the new one.
        val_fold: fold that trains nothing.
        teaching: patients that have or get labels.

    Raises:
        ConfigError: the file cannot be written.
    """
    content = json.loads(Path(datalist).read_text(encoding="utf-8"))
    sections = read_datalist(datalist)
    moved: dict[str, list[Item]] = {name: [] for name in SECTIONS}
    for name in SECTIONS:
        items = sections.get(name, [])
        free = {id(item) for item in select(items, exclude_folds=val_fold)}
        for item in items:
            if id(item) not in free:
                moved[name].append(item)
            elif patient_of(item) in teaching:
                moved["training"].append(item)
            else:
                moved["unlabelled"].append({key: value for key, value in item.items() if key != "label"})
    rest = {key: sections.get(key, value) for key, value in content.items() if key not in SECTIONS}
    try:
        write_json({**rest, **{name: found for name, found in moved.items() if found}}, out)
    except OSError as error:
        raise ConfigError(f"cannot write --out {out}: {error}") from error
