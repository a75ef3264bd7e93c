"""The id of a case: made from the path of its file where none is given, and what an id must not be."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePath

__all__ = ["IMAGE_SUFFIXES", "case_id", "case_ids", "fault_of_id"]

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr", ".dcm", ".png", ".npy")
# What the end of a file's name says of the modality, and nothing of the case.
MODALITIES: tuple[str, ...] = (
    "image",
    "t2w",
    "adc",
    "hbv",
    "dwi",
    "dwi_b50",
    "dwi_b1000",
    "ct",
    "ctres",
    "pet",
    "pt",
    "suv",
)
MODALITIES += ("t1", "t1n", "t1c", "t1ce", "t2", "t2f", "flair", "0000", "0001", "0002", "0003")
_MODALITY = re.compile(rf"(?:^|[ _-]+)(?:{'|'.join(MODALITIES)})$", re.IGNORECASE)
MAX_BYTES = 180  # of the 255 that a file system takes; the rest is for what is appended: _probability.nii.gz and more


def _names(path: str | PurePath) -> Iterator[str]:
    """Names of a case by its file: without the modality and with more and more folders in front, then with it."""
    *folders, name = [part for part in PurePath(path).parts if part not in ("/", ".", "..")] or ["case"]
    end = next((end for end in IMAGE_SUFFIXES if name.lower().endswith(end)), "")
    stem = name[: len(name) - len(end)] or name
    short = stem[: match.start()] if (match := _MODALITY.search(stem)) else stem
    above = [short, *reversed(folders)] if short else [*reversed(folders)] or [stem]
    for parts in (above, [stem, *reversed(folders)]):
        for depth in range(1, len(parts) + 1):
            yield "_".join(reversed(parts[:depth]))


def case_id(path: str | PurePath) -> str:
    """Id of a case that has none and stands alone, from its first file or DICOM folder.

    A modality at the end of the name is left out; a file that is called by its modality alone is called by its folder.

    Example:
        >>> from monai_ext.data.io.case_id import case_id
        >>> case_id("site/p7_t2w.nii.gz"), case_id("p7/SUV.nii.gz"), case_id("p7/series")
        ('p7', 'p7', 'series')
    """
    return next(_names(path))


def case_ids(paths: Sequence[str | PurePath], given: Sequence[object] = ()) -> list[str]:
    """Ids of cases that belong together: from each path, as far up as it takes to be unique among them.

    Ids that differ only by case or by the form of their Unicode count as equal, as some file systems take them.

    Args:
        paths: the first file or DICOM folder of each case.
        given: ids that are given; None where there is none. A given id stays what it is.

    Returns:
        One id for each path. Only cases of one and the same path, and equal given ids, have equal ones.

    Example:
        >>> from monai_ext.data.io.case_id import case_ids
        >>> case_ids(["p1/scan.mha", "p2/scan.mha", "p3/other.mha"])
        ['p1_scan', 'p2_scan', 'other']
    """
    made: list[str] = []
    more: list[Iterator[str]] = []
    for path, own in zip(paths, given or [None] * len(paths)):
        more.append(iter(()) if own is not None else _names(path))
        made.append(next(more[-1], str(own)))
    while True:
        counts = Counter(map(_folded, made))
        moved = [(place, name) for place, name in enumerate(made) if counts[_folded(name)] > 1]
        longer = {place: further for place, _ in moved if (further := next(more[place], None)) is not None}
        if not longer:
            return made
        for place, further in longer.items():
            made[place] = further


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def fault_of_id(case: str) -> str:
    """What makes an id unfit to name a folder and files; "" for a good one.

    Example:
        >>> from monai_ext.data.io.case_id import fault_of_id
        >>> fault_of_id("../p1")
        'the id holds a slash'
    """
    if not case.strip():
        return "the id is empty"
    if "/" in case or "\\" in case:
        return "the id holds a slash"
    if case.startswith("."):
        return "the id begins with a dot"
    if not case.isprintable() or case != case.strip():
        return "the id holds a line break, a control character, or a space at an end"
    if (length := len(case.encode("utf-8", "replace"))) > MAX_BYTES:
        return f"the id takes {length} bytes, of which the names of files have room for {MAX_BYTES}"
    if case.endswith((".json", ".html", ".csv")):
        return "the id is named like a report"
    return ""
