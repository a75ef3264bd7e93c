"""PI-CAI: public training set (Saha et al. 2022, doi 10.5281/zenodo.6624726) with the repository picai_labels."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

from monai_ext.datalist.writer import Collection
from monai_ext.errors import ConfigError, DataError

__all__ = ["LESION_MASKS", "picai", "read_splits"]

LESION_MASKS = {
    "human_expert": "csPCa_lesion_delineations/human_expert/resampled",
    "original": "csPCa_lesion_delineations/human_expert/original",
    "pooch25": "csPCa_lesion_delineations/human_expert/Pooch25",
    "ai": "csPCa_lesion_delineations/AI/Bosma22a",
}
GLAND_MASKS = ("Bosma22b", "Guerbet23")
ZONE_MASKS = ("Yuan23", "HeviAI23")
MODALITIES = ("t2w", "adc", "hbv")
_IMAGE = re.compile(r"(?P<case>(?P<patient>\w+?)_\w+)_(t2w|adc|hbv)\.mha")


def picai(
    root: str,
    out: str,
    masks: str | None = None,
    labels: str = "human_expert",
    splits: str | None = None,
    num_folds: int = 5,
    skip_incomplete: bool = False,
) -> str:
    """Write the datalist of PI-CAI from ROOT/images/{patient}/{patient}_{study}_{t2w,adc,hbv}.mha.

    Lesion masks hold 0 and 2-5 (ISUP grade), those of pooch25 0 and 1: make them binary with > 0. A case without the
    chosen mask goes to the section "unlabelled". Gland and zones (1 = peripheral, 2 = transition) are the AI's.

    Args:
        root: directory that holds images/ (or the patients' folders, or the five unpacked archives).
        out: datalist to write.
        masks: folder of the repository picai_labels, below root; ROOT/picai_labels by default.
        labels: source of the lesion masks: human_expert (resampled to T2W), original (on the grid on which it was
            drawn), pooch25, or ai.
        splits: official folds: the splits directory or splits.json of picai_baseline, or a CSV with case (or
            patient_id) and fold. Without it, folds are drawn by patient from a hash, stratified.
        num_folds: number of folds, used without splits.
        skip_incomplete: True leaves out cases with missing or unreadable files instead of stopping.
    """
    if labels not in LESION_MASKS:
        raise ConfigError(f"--labels is {labels!r}; choose from {', '.join(LESION_MASKS)}")
    cases = Collection("PI-CAI", Path(root))
    repository = Path(masks) if masks else cases.root / "picai_labels"
    if not repository.is_dir():
        raise ConfigError(f"{repository} is not a directory: clone DIAGNijmegen/picai_labels, or give --masks")
    folders = _find_cases(cases.root)
    marksheet = _read_marksheet(repository, cases.root)
    folds = read_splits(Path(splits)) if splits else {}
    for case in sorted(folders.keys() | marksheet.keys()):
        row, patient = marksheet.get(case, {}), case.split("_")[0]
        if splits and case not in folds and patient not in folds:
            cases.skip(case, f"it is not in {splits}")
            continue
        about: dict[str, Any] = {"fold": folds.get(case, folds.get(patient))} if splits else {}
        about |= {"center": row["center"]} if row.get("center") else {}
        about |= {"isup": int(row["case_ISUP"])} if row.get("case_ISUP", "").isdigit() else {}
        folder = folders.get(case, cases.root / "images" / patient)
        anatomy = repository / "anatomical_delineations"
        cases.add(
            case,
            {key: folder / f"{case}_{key}.mha" for key in MODALITIES},
            {
                "label": repository / LESION_MASKS[labels] / f"{case}.nii.gz",
                "gland": _first(anatomy / "whole_gland" / "AI", GLAND_MASKS, case),
                "zones": _first(anatomy / "zonal_pz_tz" / "AI", ZONE_MASKS, case),
            },
            patient=patient,
            positive=row["case_csPCa"].upper() == "YES" if row.get("case_csPCa") else None,
            **about,
        )
    return cases.write(out, num_folds, skip_incomplete)


def read_splits(path: Path) -> dict[str, int]:
    """Fold by case or patient id: picai_baseline's directory of ds-config-valid-fold-N.json, its splits.json, or a CSV.

    Raises:
        DataError: the file cannot be understood, or a patient is in two folds.
    """
    folds: list[tuple[str, int]] = []
    try:
        if path.is_dir():
            for file in path.glob("ds-config-valid-fold-*.json"):
                fold = int(file.stem.rsplit("-", 1)[1])
                folds += [(case, fold) for case in json.loads(file.read_text(encoding="utf-8"))["subject_list"]]
        elif path.suffix == ".csv":
            with open(path, newline="", encoding="utf-8-sig") as table:
                for row in csv.DictReader(table):
                    study = f"_{row['study_id']}" if row.get("study_id") else ""
                    folds.append((row.get("case") or row.get("id") or row["patient_id"] + study, int(row["fold"])))
        else:
            for fold, split in enumerate(json.loads(path.read_text(encoding="utf-8"))):
                folds += [(case, fold) for case in split["val"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"the splits cannot be read: {error!r}", "See --help for the forms accepted.", file=path
        ) from error
    if not folds:
        raise DataError("the splits hold no case", "See --help for the forms accepted.", file=path)
    by_patient: dict[str, set[int]] = {}
    for case, fold in folds:
        by_patient.setdefault(case.split("_")[0], set()).add(fold)
    if torn := sorted(patient for patient, found in by_patient.items() if len(found) > 1):
        raise DataError(f"patients in two folds: {', '.join(torn)}", "Split by patient.", file=path)
    return dict(folds)


def _find_cases(root: Path) -> dict[str, Path]:
    """Folder of each case, by any of its three images."""
    bases = [root / "images", root, *sorted(path for path in root.glob("*fold*") if path.is_dir())]
    found: dict[str, Path] = {}
    for file in sorted(file for base in bases for file in base.glob("*/*.mha")):
        if match := _IMAGE.fullmatch(file.name):
            found.setdefault(match["case"], file.parent)
    return found


def _read_marksheet(*places: Path) -> dict[str, dict[str, str]]:
    for place in places:
        for file in (place / "clinical_information" / "marksheet.csv", place / "marksheet.csv"):
            if file.is_file():
                with open(file, newline="", encoding="utf-8-sig") as rows:
                    return {f"{row['patient_id']}_{row['study_id']}": row for row in csv.DictReader(rows)}
    return {}


def _first(folder: Path, names: tuple[str, ...], case: str) -> Path | None:
    paths = (folder / name / f"{case}.nii.gz" for name in names)
    return next((path for path in paths if path.exists()), None)
