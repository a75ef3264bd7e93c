"""The studies that lie below a path: files, folders of patients, or the series of a DICOM export."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from monai_ext.data.entries import Item, named
from monai_ext.data.io.case_id import MODALITIES
from monai_ext.data.io.dicom_export import DicomSeries, is_dicom, read_export, series_folder
from monai_ext.data.series_roles import choose_series, may_be
from monai_ext.errors import ConfigError, DataError
from monai_ext.transforms.siblings import READABLE, SiblingModalitiesd, split_extension

__all__ = ["FoundStudies", "find_studies"]

MASKS = "seg|segmentations?|labels?|masks?|roi|gland|zones|lesions?|probability|detection|gt|gtv"
MASK = re.compile(rf"(?:^|[ _.-])(?:{MASKS})(?:$|[ _.-])", re.IGNORECASE)
MASK_FOLDER = re.compile(r"(?:labels?|masks?|segmentations?)(?:tr|ts|[ _.-].*)?", re.IGNORECASE)  # also the Decathlon's
OTHER = re.compile(rf"(?:^|[ _-])(?:{'|'.join(m for m in MODALITIES if not m.isdigit())}|sag|cor)$", re.IGNORECASE)


@dataclass
class FoundStudies:
    """What lies below a path.

    Attributes:
        items: one for each study, with an ``id``. One that cannot be done says why: ``failure``.
        unused: by reason: each file or series that is an image and belongs to no study.
    """

    items: list[Item] = field(default_factory=list)
    unused: dict[str, list[str]] = field(default_factory=dict)

    def leave(self, why: str, what: object) -> None:
        """Note that something is not used."""
        self.unused.setdefault(why, []).append(str(what))

    def describe(self, most: int = 10) -> list[str]:
        """What is not used, in lines: a file or series each, at most so many of one reason."""
        lines = []
        for why, things in self.unused.items():
            lines += [f"not used: {thing}: {why}" for thing in things[:most]]
            lines += [f"not used: {len(things) - most} more: {why}"] * (len(things) > most)
        return lines


def find_studies(
    path: str | Path,
    naming: SiblingModalitiesd,
    links: str | Path,
    series: Mapping[str, str] | None = None,
    without: str | Path | None = None,
) -> FoundStudies:
    """Find all studies below a path, none twice and none left out in silence.

    Files of one folder that differ by the modality at the end of their names are a study (``p7_t2w``, ``p7_adc``;
    ``p7/t2w``, ``p7/adc``). DICOM files are sorted by their headers: a study's series are recognised by the name of
    their folder, else by modality and description. Masks are no studies.

    Args:
        path: a file, or a folder of files, of folders, or of an unsorted DICOM export.
        naming: of the bundle's preprocessing; names its modalities.
        links: folder for links to the files of series that do not lie in a folder of their own.
        series: by modality: words that the description of its series holds, where it is not recognised.
        without: a folder in which nothing is looked for, such as that of the results.

    Raises:
        DataError: there is no such path, or no study below it.
        ConfigError: ``series`` names a modality that the bundle has not; DICOM files need pydicom.
    """
    path, words = Path(path), dict(series or {})
    if unknown := sorted(words.keys() - set(naming.keys)):
        raise ConfigError(f"--series names {', '.join(unknown)}; the modalities are {', '.join(naming.keys)}")
    if not path.exists():
        raise DataError("there is no such file or folder", "Check the path.", file=path)
    images, dicom = _files(path, None if without is None else Path(without))
    found = FoundStudies()
    _add_files(found, images, naming)
    if path.name.lower().endswith(READABLE) and path.is_file():
        own = [item for item in found.items if str(path) in item.values()]
        found = FoundStudies(own or [{naming.first: str(path)}])
    if dicom:
        _add_dicom(found, dicom, naming, Path(links), words)
    if not found.items:
        remedy = f"Give files or DICOM series of {' and '.join((naming.first, *naming.siblings))}."
        raise DataError("\n  ".join(["no study was found", *found.describe()]), remedy, file=path)
    found.items = named(found.items)
    return found


def _files(path: Path, without: Path | None) -> tuple[list[Path], list[Path]]:
    """Images in files, and DICOM files, below a folder or beside a file."""
    if path.is_file():
        paths = sorted(beside for beside in path.parent.iterdir() if beside.is_file() and beside.name[:1] != ".")
    else:
        paths = sorted(_walk(path, None if without is None else without.resolve()))
    images = [file for file in paths if file.name.lower().endswith(READABLE)]
    if path in images:
        return images, []
    return images if path.is_dir() else [], [file for file in paths if file not in set(images) and is_dicom(file)]


def _walk(root: Path, without: Path | None) -> Iterator[Path]:
    for folder, below, names in os.walk(root, followlinks=True):
        below[:] = sorted(name for name in below if name[:1] != "." and Path(folder, name).resolve() != without)
        yield from (Path(folder, name) for name in names if name[:1] != ".")


def _add_files(found: FoundStudies, images: Sequence[Path], naming: SiblingModalitiesd) -> None:
    groups: dict[tuple[Path, str], dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    plain: list[Path] = []
    for file in images:
        key, rest = naming.modality_of(file)
        stem = split_extension(file)[0]
        if key:
            groups[file.parent, rest.lower()][key].append(file)
        elif MASK.search(stem) or MASK_FOLDER.fullmatch(file.parent.name):
            found.leave("a mask, by its name", file)
        elif naming.first != "image" and OTHER.search(stem):
            found.leave("of another modality, by its name", file)
        else:
            plain.append(file)
    named_so = {folder for (folder, _), group in groups.items() if naming.first in group and naming.siblings}
    for file in plain:  # its name says no modality: the first one, unless a better one lies there
        place = (file.parent, split_extension(file)[0].lower())
        if naming.first in groups.get(place, ()) or (file.parent in named_so and place not in groups):
            found.leave("its name says no modality of the bundle", file)
        else:
            groups[place][naming.first].append(file)
    for _, files in sorted(groups.items()):
        if set(files) <= set(naming.optional):
            for paths in files.values():
                for file in paths:
                    found.leave("there is no scan of it", file)
        else:
            found.items.append(_item(files, naming))


def _item(files: Mapping[str, Sequence[Path]], naming: SiblingModalitiesd) -> Item:
    item: Item = {key: str(files[key][0]) for key in naming.keys if key in files}
    twice = next((paths for paths in files.values() if len(paths) > 1), None)
    if twice is not None:
        names = ", ".join(path.name for path in twice)
        return {**item, "failure": _failure(f"there are several files of one modality: {names}", twice[0])}
    if naming.first not in files:
        paths = [path for given in files.values() for path in given]
        cause = f"there is no {naming.first} beside {', '.join(path.name for path in paths)}"
        return {**item, "failure": _failure(cause, paths[0], f"Its file is called {naming.first}, as theirs are.")}
    return item


def _failure(cause: str, file: object = "", remedy: str = "Leave one of them in the folder.") -> dict[str, str]:
    return {"cause": cause, "remedy": remedy, "file": str(file)}


def _add_dicom(
    found: FoundStudies, dicom: Sequence[Path], naming: SiblingModalitiesd, links: Path, words: Mapping[str, str]
) -> None:
    series, broken = read_export(dicom)
    for path in broken:
        found.leave("its DICOM header cannot be read", path)
    studies: dict[tuple[str, str], list[DicomSeries]] = defaultdict(list)
    for one in series:
        studies[one.patient, one.study].append(one)
    keys = (naming.first, *naming.siblings)
    for case, members in zip(_study_ids(list(studies.values())), studies.values()):
        fitting: dict[str, list[DicomSeries]] = {key: [] for key in keys}
        for one in members:
            key = _key_of_folder(one, members, naming, words)
            for fits in [key] if key else [k for k in keys if may_be(one, k, words)]:
                fitting[fits].append(one)
        chosen = choose_series(fitting)
        used = [one for ones in chosen.values() for one in ones]
        rest = [one for one in members if one not in used]
        for one in rest:
            found.leave(f"not recognised as {' or '.join(keys)}", f"study {case}: {one}")
        if not used:
            continue
        item: Item = {"id": case, "patient": members[0].patient or case}
        for key, ones in chosen.items():
            if len(ones) == 1:
                item[key] = str(series_folder(ones[0], dicom, links / case / key))
        if faulty := next((key for key in keys if len(chosen[key]) != 1 and not _spared(key, chosen, naming)), None):
            item["failure"] = _which(faulty, chosen[faulty], rest)
        found.items.append(item)


def _spared(key: str, chosen: Mapping[str, Sequence[DicomSeries]], naming: SiblingModalitiesd) -> bool:
    """Whether a study can do without a modality, since others stand for it."""
    return not chosen[key] and any(chosen.get(other) for other in naming.unless.get(key, ()))


def _which(key: str, candidates: Sequence[DicomSeries], rest: Sequence[DicomSeries]) -> dict[str, str]:
    """The failure of a study without a series of a modality, or with several."""
    remedy = f"Say which it is by words of its description: --series '{key}=...'."
    if candidates:
        cause = f"{len(candidates)} series may be {key}: {'; '.join(map(str, candidates))}"
        return _failure(cause, candidates[0].files[0].parent, remedy)
    others = f"; not recognised: {'; '.join(map(str, rest))}" if rest else ""
    return _failure(f"no series was recognised as {key}{others}", "", remedy)


def _key_of_folder(
    series: DicomSeries, members: Sequence[DicomSeries], naming: SiblingModalitiesd, words: Mapping[str, str]
) -> str:
    """The modality after which the folder of a single series is called; "" if there is none."""
    folders = {path.parent for path in series.files}
    if len(folders) != 1 or any(other is not series and other.files[0].parent in folders for other in members):
        return ""
    key, _ = naming.modality_of(folders.pop())
    return key if key in (naming.first, *naming.siblings) and key not in words else ""


def _study_ids(studies: Sequence[Sequence[DicomSeries]]) -> Iterator[str]:
    """``<patient>_<date>`` as names of folders; two studies of one day have the end of their UID too."""
    made = []
    for series in studies:
        first = series[0]
        patient = first.patient or Path(os.path.commonpath([path.parent for path in first.files])).name
        made.append(_plain("_".join(filter(None, [patient, first.date]))))
    for case, series in zip(made, studies):
        yield case if made.count(case) == 1 else f"{case}_{_plain(series[0].study)[-12:]}"


def _plain(text: str) -> str:
    return re.sub(r"[^\w.-]+", "_", text).strip("._-")[:100] or "study"
