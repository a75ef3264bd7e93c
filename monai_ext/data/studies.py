"""Studies to segment: which are left, and for each done one what made its result."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from monai_ext.bundle import running_record
from monai_ext.data.datalist import load_studies
from monai_ext.data.entries import Item, case_of, files_of, named
from monai_ext.data.io.image_files import content_hash, file_print, image_files, image_print
from monai_ext.data.io.record import read_record, record_file, write_record
from monai_ext.data.preflight import PreflightError, Problem, check_ids
from monai_ext.errors import BundleError, DataError, find_bundle_error

__all__ = ["StudyDataset", "mask_file"]

logger = logging.getLogger(__name__)

NO_SETTINGS = ("datalist", "dataset_dir", "section", "redo")  # which studies, of which each has its own files


def mask_file(output_dir: Path, case: str, postfix: str = "seg") -> Path:
    """Path of the mask of a study below the folder of all results."""
    return output_dir / case / f"{case}_{postfix}.nii.gz"


class StudyDataset(Dataset):
    """Studies that this process still has to segment: every N-th under torchrun with N processes, else all.

    Items without an ``id`` get one that is unique among them (:func:`~monai_ext.data.io.case_id.case_ids`). A study is
    done when the record beside its mask, ``<output_dir>/<id>/<id>_<postfix>.record.json``, names these files, these
    weights, these settings and this version, and what lies in its folder is what was written. The share of a process
    depends on the list alone, so a run that is repeated with the same number of processes goes on where it stopped.

    A study among several that cannot be prepared is no error: its item is ``{"id", "failure": {"cause", "remedy",
    "file"}}``. An item of the datalist may come with such a failure. What a preparation warns of is kept in ``notes``
    by id, and in the record of the result.

    Args:
        data: items of the datalist, or its path.
        transform: prepares an item; its ``resolve`` finds files that are not named, its ``fingerprint`` is of the
            settings.
        output_dir: folder in which the run writes its results.
        weights: files of the network's weights, whose content decides what is done.
        redo: do all studies again, also where the result of another input lies.
        postfix: of the mask.
        section, dataset_dir: of a datalist's path, see :func:`load_studies`.

    Raises:
        DataError: two items have one id, an id cannot name a folder, or the result of another input lies in the place
            of one; all are listed before any work.

    Example:
        >>> from monai_ext.data import StudyDataset
        >>> items = [{"image": "p1/scan.nii.gz"}, {"image": "p2/scan.nii.gz"}]
        >>> studies = StudyDataset(items, transform=dict, output_dir="out")
        >>> len(studies), studies[1]["id"], studies.mask("p2_scan").as_posix()
        (2, 'p2_scan', 'out/p2_scan/p2_scan_seg.nii.gz')
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]] | str | Path,
        transform: Any,
        output_dir: str | Path,
        weights: Sequence[str | Path | None] = (),
        redo: bool = False,
        postfix: str = "seg",
        section: str | None = None,
        dataset_dir: str | Path | None = None,
    ) -> None:
        items = named(load_studies(data, section, dataset_dir))
        problems = list(check_ids(items))
        self.transform, self.output_dir, self.postfix = transform, Path(output_dir), postfix
        self.num_studies = len(items)
        self.notes: dict[str, list[str]] = {}
        running = running_record() or {}
        self.made_by = {
            "version": running.get("version"),
            "settings": {key: value for key, value in running.get("settings", {}).items() if key not in NO_SETTINGS},
            "weights": [content_hash(path) if path and os.path.isfile(path) else None for path in weights],
            "preprocessing": getattr(transform, "fingerprint", repr(transform)),
        }
        rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        mine = items[rank::size]
        self.data: list[Item] = []
        self._inputs: dict[str, dict[str, Any]] = {}
        for item in mine if not problems else ():
            case = case_of(item)
            self._inputs[case] = self._describe(item)
            before = None if redo else read_record(self.mask(case))
            before = before if isinstance(before, dict) and isinstance(before.get("input"), dict) else None
            if before is not None and not (differ := self._differences(case, before)):
                continue
            self.data.append({**item, "id": case})
            if before is not None and (other := self._of_another(case, before)):
                problems.append(other)
            elif before is not None:
                logger.info("study %s is done again, because of another: %s", case, ", ".join(differ))
        if problems:
            raise PreflightError(problems)
        logger.info("process %d of %d: %d of its %d studies are left", rank, size, len(self.data), len(mine))

    def __len__(self) -> int:
        """Number of studies that are left."""
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        """A study, prepared, or what is wrong with it."""
        item = self.data[index]
        try:
            if known := item.get("failure"):
                raise DataError(known["cause"], known["remedy"], item["id"], known["file"] or None)
            return self._prepare(item)
        except Exception as error:
            return {"id": item["id"], "failure": self.failure(error)}

    def _prepare(self, item: Item) -> Any:
        """The item, prepared; what this package warns of meanwhile is noted."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            prepared = self.transform(item)
        case, ours = str(item["id"]), Path(__file__).parents[1]
        for warning in {str(warning.message): warning for warning in caught}.values():
            text = str(warning.message)
            said = issubclass(warning.category, UserWarning) and ours in Path(warning.filename).parents
            if said or text.startswith(f"case {case}: "):
                text = text.removeprefix(f"case {case}: ")
                self.notes.setdefault(case, []).append(text)
                logger.warning("case %s: %s", case, text)
            else:  # of a library, for its developers
                logger.debug("case %s: %s", case, text)
        return prepared

    def mask(self, case: str) -> Path:
        """Path of the mask of a study, the file that is written last and has the record."""
        return mask_file(self.output_dir, case, self.postfix)

    def finish(self, case: str) -> None:
        """Note that a study is done, once all its files are written."""
        mask = self.mask(case)
        written = image_files(mask.parent) if mask.parent.is_dir() else []
        files = {file.name: file_print(file) for file in written if file != record_file(mask)}
        notes = {"notes": self.notes[case]} if case in self.notes else {}
        write_record(mask, {**self.made_by, "input": self._inputs[case], "output": files, **notes})

    def failure(self, error: Exception) -> dict[str, str]:
        """What is wrong with one study among several.

        Raises:
            Exception: ``error`` itself, where there is only one study, or it concerns all: the disk, the weights.
        """
        found = find_bundle_error(error)
        if self.num_studies == 1 or (isinstance(found, BundleError) and not isinstance(found, DataError)):
            raise error
        if found is None:
            logger.warning("unexpected: %s", error, exc_info=os.environ.get("MONAI_EXT_TRACEBACK") == "1")
            first: BaseException = error
            while first.__cause__ is not None:  # MONAI wraps what a transform raises
                first = first.__cause__
            text = str(first).strip().splitlines() or [""]
            cause = f"{type(first).__name__}: {text[-1][:300]}"
            return {"cause": cause, "remedy": "MONAI_EXT_TRACEBACK=1 shows where.", "file": ""}
        return {"cause": found.cause, "remedy": found.remedy, "file": str(found.file or "")}

    def _describe(self, item: Item) -> dict[str, Any]:
        """The files of a study: path, print and time of each."""
        with contextlib.suppress(DataError):  # the transform itself reports it
            item = item if "failure" in item else getattr(self.transform, "resolve", dict)(item)
        found = {}
        for key, paths in files_of(item).items():
            for number, path in enumerate(paths):
                exists = os.path.exists(path)
                times = [file.stat().st_mtime_ns for file in image_files(path)] if exists else []
                about = {"print": image_print(path) if times else "missing", "time": max(times, default=0)}
                found[f"{key}{number or ''}"] = {"file": os.path.abspath(path), **about}
        return found

    def _differences(self, case: str, before: Mapping[str, Any]) -> list[str]:
        """In what a result is not what would be made now."""
        differ = [name for name, value in self.made_by.items() if before.get(name) != value]
        differ += [] if _content(before["input"]) == _content(self._inputs[case]) else ["input"]
        folder = self.output_dir / case
        whole = all(
            (folder / name).is_file() and file_print(folder / name) == print_
            for name, print_ in (before.get("output") or {"": ""}).items()
        )
        return differ + ([] if whole else ["output"])

    def _of_another(self, case: str, before: Mapping[str, Any]) -> Problem | None:
        """The error that a result is that of another input, which must not be overwritten; None if it is not."""
        old, new = before["input"], self._inputs[case]
        if _content(old) == _content(new) or {v["file"] for v in old.values()} & {v["file"] for v in new.values()}:
            return None
        file, other = (next(iter(found.values()), {"file": "?"})["file"] for found in (new, old))
        cause = f"in {self.output_dir / case} lies the result of another study, {other}"
        remedy = "Give the study an id of its own or another --output_dir, or --redo true to replace the result."
        return Problem("error", case, file, cause, remedy)


def _content(described: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What files hold, wherever they lie."""
    return {key: (file["print"], file["time"]) for key, file in described.items()}
