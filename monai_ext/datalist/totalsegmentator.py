"""TotalSegmentator (Wasserthal et al. 2023, doi 10.1148/ryai.230024): CT with 104 (v1) or 117 (v2) structures."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path

from monai_ext.datalist.label_files import combine_masks, label_folder
from monai_ext.datalist.totalsegmentator_classes import CLASSES_V1, CLASSES_V2
from monai_ext.datalist.writer import Collection
from monai_ext.errors import ConfigError, DataError

__all__ = ["totalsegmentator"]

SPLITS = {"train": {"fold": 1}, "val": {"fold": 0}, "test": {}}


def totalsegmentator(
    root: str,
    out: str,
    organs: str | Sequence[str] = "all",
    labels: str | None = None,
    num_folds: int = 5,
    skip_incomplete: bool = False,
) -> str:
    """Write the datalist of TotalSegmentator, and one label file per case from its masks.

    ROOT holds s0000/ct.nii.gz, s0000/segmentations/{organ}.nii.gz, ... and meta.csv, whose column split is used: train
    is fold 1, val fold 0, test the section "testing". Without meta.csv, folds are drawn by a hash and no case is for
    testing. The label value of a structure is its place in --organs, by default its official number in the version
    found (v1 has heart_myocardium, v2 heart). A label file is written atomically and used again when the command is
    repeated.

    Args:
        root: directory of the unpacked archive.
        out: datalist to write; its field labels names the values.
        organs: names of structures, separated by commas, which get the label values 1, 2, ... in this order; or all.
        labels: folder for the label files, below ROOT; by default ROOT/labels_{number of organs}_{hash of their names}.
        num_folds: number of folds, used without an official split.
        skip_incomplete: True leaves out cases with missing or unreadable files instead of stopping.
    """
    cases = Collection("TotalSegmentator", Path(root))
    folders = sorted(path.parent for path in cases.root.glob("*/ct.nii.gz"))
    if not folders:
        raise DataError("no case of TotalSegmentator was found", "ROOT must hold s0000/ct.nii.gz, ...", file=cases.root)
    known = CLASSES_V1 if any(_mask(folder, "heart_myocardium").exists() for folder in folders) else CLASSES_V2
    names = (
        known if organs == "all" else [n.strip() for n in (organs.split(",") if isinstance(organs, str) else organs)]
    )
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"--organs names no structure, or one twice: {', '.join(names)}")
    # User masks may have other names: a name is wrong when no case has its file.
    if absent := [n for n in names if n not in known and not any(_mask(folder, n).exists() for folder in folders)]:
        raise ConfigError(f"--organs: no case has a mask of {', '.join(absent)}; there are {', '.join(known)}")
    cases.labels = dict(enumerate(names, start=1))
    digest = hashlib.sha256(",".join(names).encode()).hexdigest()[:8]
    target = label_folder(labels, cases.root, f"labels_{len(names)}_{digest}")
    splits = _read_splits(cases.root / "meta.csv", [folder.name for folder in folders])
    for folder in folders:
        case, split = folder.name, splits.get(folder.name, "")
        label = target / f"{case}.nii.gz"
        masks = {name: _mask(folder, name) for name in names}
        if lacking := [name for name, path in masks.items() if not path.exists()]:
            shown = ", ".join(lacking[:20]) + (f" and {len(lacking) - 20} more" if len(lacking) > 20 else "")
            remedy = "Unpack the archive again, or name in --organs what there is."
            cases.fault(
                case, folder / "segmentations", f"{len(lacking)} of {len(names)} masks are missing: {shown}", remedy
            )
        else:
            try:
                combine_masks(list(masks.values()), label)
            except DataError as error:
                cases.fault(case, error.file, error.cause, error.remedy)
        fold = SPLITS.get(split, {})
        cases.add(case, {"image": folder / "ct.nii.gz"}, {"label": label}, None, True, split == "test", **fold)
    if not splits:
        cases.skip("meta.csv", "it is missing: the folds are drawn by a hash, and no case is for testing")
    return cases.write(out, num_folds, skip_incomplete)


def _mask(folder: Path, name: str) -> Path:
    return folder / "segmentations" / f"{name}.nii.gz"


def _read_splits(table: Path, cases: list[str]) -> dict[str, str]:
    """Split of each case from the columns image_id and split; empty where there is no table."""
    if not table.exists():
        return {}
    with open(table, newline="", encoding="utf-8-sig") as file:
        delimiter = ";" if ";" in file.readline() else ","
        file.seek(0)
        rows = {row.get("image_id", ""): row.get("split", "") for row in csv.DictReader(file, delimiter=delimiter)}
    if wrong := [case for case in cases if rows.get(case) not in SPLITS]:
        found = f"{len(wrong)} cases have no split of {', '.join(SPLITS)}: {', '.join(wrong[:8])}"
        raise DataError(found, "It must have the columns image_id and split.", file=table)
    return rows
