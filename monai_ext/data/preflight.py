"""Find all problems of a data set before any work begins, from the datalist and the image headers."""

from __future__ import annotations

import contextlib
import filecmp
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from monai_ext.data.entries import Folds, Item, case_of, files_of, patient_of, read_datalist, resolve, select
from monai_ext.data.io.case_id import fault_of_id
from monai_ext.data.io.image_files import file_print, image_files
from monai_ext.data.io.image_header import ImageHeader, read_header
from monai_ext.errors import DataError

__all__ = ["PreflightError", "Problem", "check_datalist", "check_ids"]

Sections = Mapping[str, list[Item]]
_FOLDED = ("training", "unlabelled")  # sections that share their folds
_MASKS = ("label", "gland", "zones", "clicks")  # files that may be alike in two patients, beside those of ``same_grid``
_SHOWN = 100  # problems in the message of an error
_TOLERANCE = 0.25  # of the smallest voxel side: converters round affines, and a smaller shift moves no voxel to another


@dataclass(frozen=True)
class Problem:
    """One problem: ``severity`` is "error" (the data cannot be used) or "warning"; fields that do not apply are ""."""

    severity: Literal["error", "warning"]
    case: str
    file: str
    cause: str
    remedy: str

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.case and f"case {self.case}", self.file) if part)
        return f"{where}: {self.cause}. {self.remedy}" if where else f"{self.cause}. {self.remedy}"


class PreflightError(DataError):
    """All errors of a datalist at once, as ``problems``; exit code 3."""

    def __init__(self, problems: Sequence[Problem], file: object = None) -> None:
        self.problems = list(problems)
        lines = [f"  {problem}" for problem in self.problems[:_SHOWN]]
        if len(self.problems) > _SHOWN:
            lines.append(f"  ... and {len(self.problems) - _SHOWN} more; python -m monai_ext.check lists all")
        super().__init__("\n".join([f"{len(self.problems)} error(s) in the data", *lines]), file=file)


def check_datalist(
    datalist: str | Path | Sections,
    dataset_dir: str | Path,
    section: str | Sequence[str] | None = None,
    folds: Folds = None,
    exclude_folds: Folds = None,
    required_keys: Sequence[str] = (),
    same_grid: Sequence[str] = ("label",),
    stacked_keys: Sequence[str] = ("image",),
    allow_outside: bool = False,
    headers: bool = True,
) -> list[Problem]:
    """Check items and the headers of their files, without reading voxels.

    Ids, patients and copies of files are checked over the whole datalist, headers in the chosen sections and folds.

    Args:
        datalist: path of the JSON, or its sections.
        dataset_dir: the directory that paths are relative to.
        section: one or several sections; None for all.
        folds: folds to check, None for all.
        exclude_folds: folds to leave out.
        required_keys: files that every item must have, for example ``["t2w", "adc", "hbv", "label"]``.
        same_grid: masks that must lie on the grid of the item's first image; others are resampled by the config.
        stacked_keys: keys whose file may be 4-D, with one modality per channel.
        allow_outside: True accepts files outside ``dataset_dir``.
        headers: False opens no file.

    Returns:
        All problems, errors first; empty if there are none.

    Raises:
        DataError: the datalist itself cannot be read.
    """
    sections = datalist if isinstance(datalist, Mapping) else read_datalist(datalist)
    if not Path(dataset_dir).is_dir():
        remedy = "Give the directory that the paths of the datalist are relative to."
        return [Problem("error", "", str(dataset_dir), "dataset_dir is not a directory", remedy)]
    names = list(sections) if section is None else [section] if isinstance(section, str) else list(section)
    whole = [item for items in sections.values() for item in items]
    problems = [*_check_sections(sections, names, folds, exclude_folds), *check_ids(whole), *_check_patients(sections)]
    problems += _check_copies(sections, dataset_dir, same_grid) if headers else ()
    for name in names:
        for item in select(sections.get(name, []), folds, exclude_folds):
            problems += _check_item(item, dataset_dir, required_keys, same_grid, stacked_keys, allow_outside, headers)
    return sorted(problems, key=lambda problem: problem.severity)


def _check_sections(sections: Sections, names: list[str], folds: Folds, exclude_folds: Folds) -> Iterator[Problem]:
    for name in names:
        if name not in sections:
            yield Problem("error", "", "", f"there is no section {name!r}", f"The datalist has {sorted(sections)}.")
        elif not sections[name]:
            yield Problem("error", "", "", f"the section {name!r} is empty", "Remove it or add cases.")
        elif not select(sections[name], folds, exclude_folds):
            present = sorted({str(item.get("fold")) for item in sections[name]})
            cause = f"no case of {name!r} is left by folds={folds}, exclude_folds={exclude_folds}"
            yield Problem("error", "", "", cause, f"Its folds are {', '.join(present)}.")


def check_ids(items: Sequence[Item]) -> Iterator[Problem]:
    """Ids that cannot name folders and files, and ids that several items have; each names the items."""
    of_case: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        of_case[case_of(item)].append(item)
    for case, found in of_case.items():
        files = ", ".join(next(iter(files_of(item).values()), ["no file"])[0] for item in found)
        if len(found) > 1:
            cause = f"the id occurs {len(found)} times: {files}"
            yield Problem("error", case, "", cause, "Give every case an id of its own.")
        elif fault := fault_of_id(case):
            yield Problem("error", repr(case)[:60], files, fault, "Give the case another id.")


def _check_patients(sections: Sections) -> Iterator[Problem]:
    """Patients in several splits. A fold is one split of all sections to learn from."""
    splits: dict[str, set[str]] = defaultdict(set)
    for name, items in sections.items():
        for item in items:
            folded = item.get("fold") is not None and name in _FOLDED
            splits[patient_of(item)].add(f"fold {item['fold']}" if folded else name)
    for patient, places in splits.items():
        if len(places) > 1:
            cause = f"patient {patient} is in several splits: {', '.join(sorted(places))}"
            yield Problem("error", "", "", cause, "Put all cases of a patient into one split.")


def _check_copies(sections: Sections, dataset_dir: str | Path, masks: Sequence[str]) -> Iterator[Problem]:
    """Images of two patients that are one and the same, byte for byte: a patient under two names."""
    by_size: dict[int, list[tuple[Item, Path]]] = defaultdict(list)
    for item in (item for items in sections.values() for item in items):
        paths = [path for key, found in files_of(item).items() if key not in (*_MASKS, *masks) for path in found]
        for absolute in filter(None, (resolve(path, dataset_dir, True) for path in paths)):
            with contextlib.suppress(OSError, ValueError):  # a missing file or an empty folder has its own problem
                voxels = max(image_files(absolute), key=os.path.getsize)
                by_size[os.path.getsize(voxels)].append((item, voxels))
    for alike in by_size.values():
        seen: dict[str, tuple[Item, Path]] = {}
        for item, path in alike if len({patient_of(item) for item, _ in alike}) > 1 else ():
            with contextlib.suppress(OSError):
                other, first = seen.setdefault(file_print(path), (item, path))
                if patient_of(other) != patient_of(item) and (path == first or filecmp.cmp(first, path, shallow=False)):
                    cause = f"the file is that of case {case_of(other)}, {first}"
                    remedy = "Remove one of them, or name one patient for both."
                    yield Problem("error", case_of(item), str(path), cause, remedy)


def _check_item(
    item: Item,
    dataset_dir: str | Path,
    required_keys: Sequence[str],
    same_grid: Sequence[str],
    stacked_keys: Sequence[str],
    allow_outside: bool,
    readable: bool,
) -> Iterator[Problem]:
    case, files = case_of(item), files_of(item)
    for key in required_keys:
        if key not in files:
            cause = f"{key!r} is missing; the case has {', '.join(files) or 'no file'}"
            yield Problem("error", case, "", cause, f"Add the path of {key!r} to the datalist.")
    headers: dict[str, ImageHeader] = {}
    where: dict[str, str] = {}
    for key, paths in files.items():
        for path in paths:
            absolute = resolve(path, dataset_dir, allow_outside)
            if absolute is None:
                cause = f"{key!r} lies outside dataset_dir {dataset_dir}"
                yield Problem("error", case, path, cause, "Move it, or allow it with allow_outside=True.")
                continue
            if not readable:
                continue
            try:
                header = read_header(absolute)
            except DataError as error:
                yield Problem("error", case, absolute, f"{key!r}: {error.cause}", error.remedy)
                continue
            faults = list(_check_header(case, key, absolute, header, key in stacked_keys))
            yield from faults
            if not any(fault.severity == "error" for fault in faults):
                headers.setdefault(key, header)
                where.setdefault(key, absolute)
    yield from _check_grids(case, files, headers, where, same_grid)


def _check_header(case: str, key: str, file: str, header: ImageHeader, stacked: bool) -> Iterator[Problem]:
    shape, affine = "x".join(map(str, header.shape)), header.affine
    if len(header.shape) < 3 or min(header.shape[:3]) < 2:
        yield Problem("error", case, file, f"{key!r} is not a 3-D volume but {shape}", "Give the whole series.")
    elif len(header.shape) > 4 or (len(header.shape) == 4 and not stacked):
        cause = f"{key!r} is {shape}, but one 3-D volume is expected"
        yield Problem("error", case, file, cause, "Write each modality to a file of its own.")
    remedy = "Convert the image from its DICOM source again."
    if not np.isfinite(affine).all():
        yield Problem("error", case, file, f"the affine of {key!r} is not finite", remedy)
    elif abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        yield Problem("error", case, file, f"the affine of {key!r} is singular", remedy)
    if not header.placed:
        cause = f"{key!r} does not say where it lies (sform and qform codes are 0)"
        yield Problem("warning", case, file, cause, "Check that its orientation is right.")


def _check_grids(
    case: str,
    files: Mapping[str, list[str]],
    headers: Mapping[str, ImageHeader],
    where: Mapping[str, str],
    same_grid: Sequence[str],
) -> Iterator[Problem]:
    """Check that masks of ``same_grid`` lie on the grid of the first image, and that all other files overlap it."""
    reference = next((key for key in files if key not in same_grid), None)
    if reference is None or reference not in headers:
        return
    grid = headers[reference]
    for key, header in headers.items():
        file = where[key]
        if key == reference:
            continue
        if key in same_grid:
            shapes = header.shape[:3], grid.shape[:3]
            if shapes[0] != shapes[1]:
                cause = f"{key!r} is {'x'.join(map(str, shapes[0]))}, {reference!r} is {'x'.join(map(str, shapes[1]))}"
            elif (apart := _largest_distance(header, grid)) > _TOLERANCE * np.linalg.norm(
                grid.affine[:3, :3], axis=0
            ).min():
                cause = f"{key!r} and {reference!r} have another affine: voxels lie up to {apart:.2f} mm apart"
            else:
                continue
            yield Problem("error", case, file, cause, f"Resample {key!r} onto the grid of {reference!r}.")
        elif not _overlap(header, grid):
            cause = f"{key!r} and {reference!r} do not overlap in space"
            yield Problem("error", case, file, cause, "Check that both are of one examination, with a true header.")


def _corners(header: ImageHeader) -> np.ndarray:
    """World coordinates (mm) of the eight corner voxels, [8, 3]."""
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in header.shape[:3]], indexing="ij")).reshape(3, 8)
    return (header.affine[:3, :3] @ ends).T + header.affine[:3, 3]


def _largest_distance(one: ImageHeader, other: ImageHeader) -> float:
    """Largest distance in mm between the same voxel of two grids of equal shape, which occurs at a corner."""
    return float(np.linalg.norm(_corners(one) - _corners(other), axis=1).max())


def _overlap(one: ImageHeader, other: ImageHeader) -> bool:
    """Whether the bounding boxes of two images along the patient's axes overlap."""
    a, b = _corners(one), _corners(other)
    return bool((a.min(0) <= b.max(0)).all() and (b.min(0) <= a.max(0)).all())
