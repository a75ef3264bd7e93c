"""The series of a DICOM export, whose files lie in any order and in any folders, by their headers alone."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from monai_ext.errors import ConfigError

__all__ = ["DicomSeries", "is_dicom", "read_export", "series_folder"]

INSTALLED = bool(find_spec("pydicom"))  # imported on use: an optional package
TAGS = ["PatientID", "StudyInstanceUID", "StudyDate", "SeriesInstanceUID", "SeriesNumber", "Modality", "ImageType"]
TAGS += ["SeriesDescription", "ProtocolName", "FrameOfReferenceUID", "ImageOrientationPatient", "ImagePositionPatient"]
TAGS += ["ContrastBolusAgent"]


@dataclass(frozen=True)
class DicomSeries:
    """One series: its files and what their headers say; texts are empty where a header says nothing.

    Attributes:
        files: in the order of their paths.
        patient: PatientID.
        study: StudyInstanceUID; where it is blank, the folder above that of the series.
        date: StudyDate, ``YYYYMMDD``.
        modality: ``MR``, ``CT``, ``PT``, ...
        description: SeriesDescription, else ProtocolName.
        image_type: words of ImageType, in capitals.
        frame: FrameOfReferenceUID.
        plane: ``axial``, ``coronal`` or ``sagittal``; empty for what is no image in space.
        contrast: the header names a contrast agent.
    """

    files: tuple[Path, ...]
    patient: str
    study: str
    date: str
    modality: str
    description: str
    image_type: frozenset[str]
    frame: str
    plane: str
    contrast: bool

    def __str__(self) -> str:
        named = f"{self.description!r}" if self.description else "without description"
        return f"{self.modality or 'no modality'} {named} ({len(self.files)} images)"


def is_dicom(path: str | Path) -> bool:
    """Whether a file begins as DICOM does: a preamble of 128 bytes and ``DICM``."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"
    return False


def read_export(files: Iterable[Path]) -> tuple[list[DicomSeries], list[Path]]:
    """Sort DICOM files into series.

    Files of one SeriesInstanceUID are a series, wherever they lie. Anonymizers blank it: then the files of one folder
    with one description are.

    Args:
        files: DICOM files in any order.

    Returns:
        The series, ordered by patient, study and description; and the files whose header cannot be read.

    Raises:
        ConfigError: pydicom is not installed.
    """
    if not INSTALLED:
        raise ConfigError("sorting a DICOM export needs pydicom: pip install 'monai-ext[dicom]'")
    import pydicom  # late: an optional package

    groups: dict[tuple[str, ...], list[tuple[Path, Any]]] = {}
    broken = []
    for path in sorted(files):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=TAGS)
                uid, named = _text(header, "SeriesInstanceUID"), _text(header, "SeriesDescription")
                key = (uid,) if uid else ("", str(path.parent), named, _text(header, "SeriesNumber"))
                groups.setdefault(key, []).append((path, header))
        except Exception:  # pydicom raises anything from AttributeError to struct.error
            broken.append(path)
    found = [_series(members) for members in groups.values()]
    return sorted(found, key=lambda s: (s.patient, s.date, s.study, s.description, s.files)), broken


def _text(header: Any, keyword: str) -> str:
    return str(header.get(keyword) or "").strip()


def _series(members: list[tuple[Path, Any]]) -> DicomSeries:
    paths, first = tuple(path for path, _ in members), members[0][1]
    return DicomSeries(
        files=paths,
        patient=_text(first, "PatientID"),
        study=_text(first, "StudyInstanceUID") or str(paths[0].parent.parent),
        date=_text(first, "StudyDate"),
        modality=_text(first, "Modality").upper(),
        description=_text(first, "SeriesDescription") or _text(first, "ProtocolName"),
        image_type=frozenset(str(word).upper() for word in first.get("ImageType") or ()),
        frame=_text(first, "FrameOfReferenceUID"),
        plane=_plane(first),
        contrast=bool(_text(first, "ContrastBolusAgent")),
    )


def _plane(header: Any) -> str:
    """The plane of the slices, by the axis that is nearest to their normal."""
    try:
        row, column = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
    except (AttributeError, TypeError, ValueError):
        return ""
    return ("sagittal", "coronal", "axial")[int(np.abs(np.cross(row, column)).argmax())]


def series_folder(series: DicomSeries, dicom: Collection[Path], place: Path) -> Path:
    """A folder with the files of one series and no other image.

    It is the folder in which they lie, if they lie there alone, else ``place``, which is made anew with links to them.

    Args:
        series: the series.
        dicom: all DICOM files of the export.
        place: folder for the links.
    """
    folders, own = {path.parent for path in series.files}, set(series.files)
    if len(folders) == 1:
        folder = folders.pop()
        if all(path in own for path in dicom if path.parent == folder):
            return folder
    place.mkdir(parents=True, exist_ok=True)
    wanted = dict(_links(series.files, place))
    for old in place.iterdir():
        if old.is_symlink() and (old not in wanted or os.readlink(old) != str(wanted[old])):
            old.unlink()
    for link, target in wanted.items():
        if not link.is_symlink():
            link.symlink_to(target)
    return place


def _links(files: Iterable[Path], place: Path) -> Iterator[tuple[Path, Path]]:
    for number, path in enumerate(files):
        yield place / f"{number:05d}.dcm", path.resolve()
