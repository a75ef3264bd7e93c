"""The form of a datalist: its sections and items, which values are files, and the paths of these files."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_ext.errors import DataError

__all__ = ["IMAGE_SUFFIXES", "Item", "case_of", "files_of", "patient_of", "read_datalist", "resolve", "select"]

Item = dict[str, Any]
Folds = int | Sequence[int] | None

_PLAIN = {"id": (str, int, float, type(None)), "patient": (str, int, float, type(None)), "fold": (str, int, type(None))}
IMAGE_SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr", ".dcm", ".png", ".npy")


def read_datalist(path: str | Path) -> dict[str, list[Item]]:
    """Read a datalist: ``{"training": [{"id", "fold", <modality>: path, "label": path, ...}], "testing": [...]}``.

    Other top-level values (``name``, ``labels``, ...) are ignored. A section may hold bare paths, which stand for
    ``{"image": path}``; the ``dataset.json`` of the Medical Segmentation Decathlon is thus a datalist too.

    Raises:
        DataError: the file is missing, is not JSON, or holds no section.
    """
    remedy = "Write one with: python -m monai_ext.datalist"
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError("there is no such datalist", remedy, file=path) from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"the datalist cannot be read: {error}", remedy, file=path) from error
    content = content if isinstance(content, dict) else {}
    sections = {
        name: [{"image": item} if isinstance(item, str) else item for item in items]
        for name, items in content.items()
        if isinstance(items, list) and all(isinstance(item, str | dict) for item in items)
    }
    if not sections:
        raise DataError('the datalist has no section such as {"training": [...]}', remedy, file=path)
    for name, items in sections.items():
        for number, item in enumerate(items):
            for key, kinds in _PLAIN.items():
                if not isinstance(item.get(key), kinds):
                    cause = f"item {number} of {name!r}: its {key!r} is a {type(item[key]).__name__}"
                    raise DataError(cause, "Give a word or a number.", file=path)
    return sections


def select(items: list[Item], folds: Folds = None, exclude_folds: Folds = None) -> list[Item]:
    """Items of the given folds (None: all folds) that are not in the excluded folds (None: no fold)."""
    wanted, unwanted = (None if f is None else {f} if isinstance(f, int) else set(f) for f in (folds, exclude_folds))
    return [
        item
        for item in items
        if (wanted is None or item.get("fold") in wanted) and (unwanted is None or item.get("fold") not in unwanted)
    ]


def files_of(item: Item) -> dict[str, list[str]]:
    """The files of an item by key.

    A string is a file when it has the suffix of an image or contains a slash (a DICOM directory); a list of such
    strings is a list of files. All other values (``id``, ``fold``, ``center``, ...) describe the case and are kept.
    """
    found = {}
    for key, value in item.items():
        paths = value if isinstance(value, list | tuple) else [value]
        if paths and all(isinstance(p, str) and (p.lower().endswith(IMAGE_SUFFIXES) or "/" in p) for p in paths):
            found[key] = list(paths)
    return found


def case_of(item: Item) -> str:
    """Id of the case, or the name of its first file if the datalist has no ids."""
    if "id" in item:
        return str(item["id"])
    first = next(iter(files_of(item).values()), ["?"])[0]
    return Path(first).name.split(".")[0]


def patient_of(item: Item) -> str:
    """The patient of an item: the field ``patient``, else the id of the case."""
    return str(item.get("patient", case_of(item)))


def resolve(path: str, dataset_dir: str | Path, allow_outside: bool = False) -> str | None:
    """Absolute path of a file; None when it is not a path, or lies outside ``dataset_dir`` without permission.

    Links below ``dataset_dir`` may point anywhere, because only someone who can write there can make them.
    """
    if "\0" in path or not path.isprintable():
        return None
    root = os.path.abspath(os.path.expanduser(dataset_dir))
    absolute = os.path.normpath(os.path.join(root, path))
    inside = os.path.commonpath([root, absolute]) == root
    return absolute if inside or allow_outside else None
