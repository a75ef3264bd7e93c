"""Load and check the items of a datalist."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_ext.data.entries import Folds, Item, case_of, files_of, patient_of, read_datalist, resolve, select
from monai_ext.data.preflight import PreflightError, check_datalist
from monai_ext.errors import DataError

__all__ = ["load_datalist", "load_studies", "with_absolute_paths"]

logger = logging.getLogger(__name__)


def load_datalist(
    path: str | Path,
    dataset_dir: str | Path,
    section: str | Sequence[str] = "training",
    folds: Folds = None,
    exclude_folds: Folds = None,
    required_keys: Sequence[str] = (),
    same_grid: Sequence[str] = ("label",),
    allow_outside: bool = False,
    optional_sections: Sequence[str] = (),
    headers: bool = True,
) -> list[Item]:
    """Items of a datalist with absolute paths, after :func:`monai_ext.data.check_datalist` found no error.

    A datalist is MONAI's own form with folds, paths relative to ``dataset_dir``::

        {"training": [{"id": "10005_1000005", "patient": "10005", "fold": 0, "t2w": "...", "adc": "...",
                       "hbv": "...", "label": "...", "gland": "..."}], "testing": [...]}

    ``patient`` defaults to ``id``. An item may lack ``label``; list in ``required_keys`` the files that a run needs.

    Args:
        path: path of the datalist.
        dataset_dir: the directory that its paths are relative to.
        section: one section, or several whose items are joined.
        folds: folds to keep; None keeps all.
        exclude_folds: folds to leave out, for example the validation fold.
        required_keys: files that every item must have.
        same_grid: masks that must lie on the grid of the item's first image.
        allow_outside: True accepts files outside ``dataset_dir``.
        optional_sections: sections that are joined if the datalist has them, such as "unlabelled" for a pretraining.
        headers: False leaves the files to the run, as inference names each study whose files cannot be used.

    Returns:
        One dict per case: its files as absolute paths (one path or a list), ``id`` and ``patient`` as strings, and all
            other values unchanged.

    Raises:
        DataError: lists all problems of the chosen items; also raised when the datalist cannot be read.
    """
    sections = read_datalist(path)
    names = [section] if isinstance(section, str) else list(section)
    names += [name for name in optional_sections if sections.get(name) and name not in names]
    problems = check_datalist(
        sections,
        dataset_dir,
        names,
        folds,
        exclude_folds,
        required_keys=required_keys,
        same_grid=same_grid,
        allow_outside=allow_outside,
        headers=headers,
    )
    if errors := [problem for problem in problems if problem.severity == "error"]:
        raise PreflightError(errors, file=path)
    for problem in problems:
        logger.warning("%s", problem)
    return [
        with_absolute_paths(item, dataset_dir)
        for name in names
        for item in select(sections[name], folds, exclude_folds)
    ]


def load_studies(
    studies: Sequence[Mapping[str, Any]] | str | Path,
    section: str | None = None,
    dataset_dir: str | Path | None = None,
) -> list[Item]:
    """The studies of an inference: items as they are given, or all of a datalist's file.

    Args:
        studies: items with absolute paths, or the path of a datalist.
        section: of the datalist's file; None takes all sections.
        dataset_dir: the directory that the file's paths are relative to, by default its own folder.

    Raises:
        DataError: an item is none, or :func:`load_datalist` finds a problem.
    """
    if isinstance(studies, str | Path):
        known = read_datalist(studies)
        if section is not None and section not in known:
            raise DataError(f"there is no section {section!r}", f"There are {', '.join(known)}.", file=studies)
        names = list(known) if section is None else section
        return load_datalist(studies, dataset_dir or Path(studies).parent, names, allow_outside=True, headers=False)
    if strange := next((item for item in studies if not isinstance(item, Mapping)), None):
        raise DataError(f"an item of the datalist is {strange!r}", "Give items such as {'image': path}, or a file.")
    return [dict(item) for item in studies]


def with_absolute_paths(item: Item, dataset_dir: str | Path) -> Item:
    """An item with the absolute paths of its files, and with ``id`` and ``patient`` as strings."""
    absolute = {key: [resolve(p, dataset_dir, True) for p in paths] for key, paths in files_of(item).items()}
    found = {key: paths if isinstance(item[key], list) else paths[0] for key, paths in absolute.items()}
    return item | {"id": case_of(item), "patient": patient_of(item)} | found
