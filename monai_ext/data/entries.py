"""The form of a datalist: its sections and items, which values are files, and the paths of these files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_ext.data.io.case_id import IMAGE_SUFFIXES, case_id, case_ids
from monai_ext.errors import DataError

__all__ = ["IMAGE_SUFFIXES", "Item", "case_of", "files_of", "named", "patient_of", "read_datalist", "resolve", "select"]

Item = dict[str, Any]
Folds = int | Sequence[int] | None

_PLAIN = {"id": (str, int, float, type(None)), "patient": (str, int, float, type(None)), "fold": (str, int, type(None))}


def read_datalist(path: str | Path) -> dict[str, list[Item]]:
    """Read a datalist: ``{"training": [{"id", "fold", <modality>: path, "label": path, ...}], "testing": [...]}``.

    Other top-level values (``name``, ``labels``, ...) are ignored. A section may hold bare paths, which stand for
    ``{"image": path}``; the ``dataset.json`` of the Medical Segmentation Decathlon is thus a datalist too. Items
    without an id get one that is unique in the datalist, see :func:`named`.

    Raises:
        DataError: the file is missing, is not JSON, holds a key twice, or holds no section; or a value is of the wrong
            type, such as folds that are numbers in one item and words in another.
    """
    remedy = "Write one with: python -m monai_ext.datalist"
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=_once)
    except DataError as error:
        raise DataError(error.cause, error.remedy, file=path) from error
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
    kinds_of_fold: dict[type, str] = {}
    for name, items in sections.items():
        for number, item in enumerate(items):
            for key, kinds in _PLAIN.items():
                if not isinstance(item.get(key), kinds) or isinstance(item.get(key), bool):
                    cause = f"item {number} of {name!r}: its {key!r} is a {type(item[key]).__name__}"
                    raise DataError(cause, "Give a word or a number.", file=path)
            if item.get("fold") is not None:
                kinds_of_fold.setdefault(type(item["fold"]), f"{item['fold']!r} in item {number} of {name!r}")
    if len(kinds_of_fold) > 1:
        cause = f"folds are numbers and words: {', '.join(kinds_of_fold.values())}"
        raise DataError(cause, "Give all folds as numbers.", file=path)
    whole = iter(named([item for items in sections.values() for item in items]))
    return {name: [next(whole) for _ in items] for name, items in sections.items()}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, in which no key may occur twice: Python would take the last one in silence."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for number, (key, _) in enumerate(pairs) if key in dict(pairs[:number]))
        raise DataError(f"the key {twice!r} occurs twice in one object", "Join the two, or remove one.")
    return found


def named(items: Sequence[Mapping[str, Any]]) -> list[Item]:
    """The items, each with an ``id``: its own, else one from the path of its first file, unique among the items."""
    first = [next(iter(files_of(item).values()), ["?"])[0] for item in items]
    ids = case_ids(first, [item.get("id") for item in items])
    return [dict(item) if item.get("id") is not None else {**item, "id": made} for item, made in zip(items, ids)]


def select(items: list[Item], folds: Folds = None, exclude_folds: Folds = None) -> list[Item]:
    """Items of the given folds (None: all folds) that are not in the excluded folds (None: no fold)."""
    wanted, unwanted = (None if f is None else {f} if isinstance(f, int) else set(f) for f in (folds, exclude_folds))
    return [
        item
        for item in items
        if (wanted is None or item.get("fold") in wanted) and (unwanted is None or item.get("fold") not in unwanted)
    ]


def files_of(item: Mapping[str, Any]) -> dict[str, list[str]]:
    """The files of an item by key.

    A string is a file when it has the suffix of an image or contains a slash (a DICOM directory); a list of such
    strings is a list of files. All other values (``id``, ``fold``, ``center``, ...) describe the case and are kept.
    """
    found = {}
    for key, value in item.items():
        paths = value if isinstance(value, list | tuple) else [value]
        if key not in _PLAIN and paths and all(map(_is_file, paths)):
            found[key] = list(paths)
    return found


def _is_file(value: object) -> bool:
    return isinstance(value, str) and (value.lower().endswith(IMAGE_SUFFIXES) or "/" in value)


def case_of(item: Item) -> str:
    """Id of the case; of an item without one, what its first file is called, see :func:`named`."""
    if item.get("id") is not None:
        return str(item["id"])
    return case_id(next(iter(files_of(item).values()), ["?"])[0])


def patient_of(item: Item) -> str:
    """The patient of an item: the field ``patient``, else the id of the case."""
    return str(case_of(item) if item.get("patient") is None else item["patient"])


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
