"""autoPET (Gatidis et al. 2022, doi 10.1038/s41597-022-01718-3): whole-body PET/CT with lesions, both layouts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from monai_ext.datalist.writer import Collection
from monai_ext.errors import DataError

__all__ = ["autopet"]

_TRACER = re.compile(r"(fdg|psma)_([^_]+)_")


def autopet(root: str, out: str, num_testing: int = 0, num_folds: int = 5, skip_incomplete: bool = False) -> str:
    """Write the datalist of autoPET; the keys are pet (SUV), ct (HU) and label, whose 1 is lesion.

    nnU-Net's layout (autoPET III): imagesTr/{case}_0000.nii.gz is the CT, {case}_0001.nii.gz the PET,
    labelsTr/{case}.nii.gz; the validation parts of splits_final.json are the folds. Cases of a patient begin with
    {tracer}_{patient}_. TCIA's layout: {patient}/{study}/{SUV,CTres,SEG}.nii.gz, or the same three files in
    {patient}/; CT.nii.gz stands in for CTres.nii.gz. A study without a mask goes to the section "unlabelled".

    Args:
        root: directory that holds imagesTr, or the folders of the patients.
        out: datalist to write.
        num_testing: number of patients to keep for testing, the last in the order of a hash; there is no public test
            set.
        num_folds: number of folds by patient from a hash, used without splits_final.json.
        skip_incomplete: True leaves out cases with missing or unreadable files instead of stopping.
    """
    cases = Collection("autoPET", Path(root))
    cases.labels = {1: "lesion"}
    if (cases.root / "imagesTr").is_dir():
        _add_nnunet(cases)
    else:
        _add_studies(cases)
    cases.hold_out(num_testing)
    return cases.write(out, num_folds, skip_incomplete)


def _add_nnunet(cases: Collection) -> None:
    folds = _read_folds(cases.root / "splits_final.json")
    images = cases.root / "imagesTr"
    names = {re.sub(r"_000[01]\.nii\.gz$", "", path.name) for path in images.glob("*_000[01].nii.gz")}
    for case in sorted(names):
        files = {"pet": images / f"{case}_0001.nii.gz", "ct": images / f"{case}_0000.nii.gz"}
        match = _TRACER.match(case)
        about: dict[str, Any] = {"tracer": match[1]} if match else {}
        about |= {"fold": folds[case]} if case in folds else {}
        patient = f"{match[1]}_{match[2]}" if match else case
        cases.add(case, files, {"label": cases.root / "labelsTr" / f"{case}.nii.gz"}, patient, **about)


def _add_studies(cases: Collection) -> None:
    for pet in sorted(cases.root.rglob("SUV.nii.gz")):
        parts = pet.parent.relative_to(cases.root).parts
        patient = parts[-2] if len(parts) > 1 else pet.parent.name
        case = re.sub(r"[^\w.-]+", "_", "_".join(parts[-2:]) or pet.parent.name)
        cts = [pet.with_name(name) for name in ("CTres.nii.gz", "CT.nii.gz")]
        ct = next((path for path in cts if path.exists()), cts[0])
        cases.add(case, {"pet": pet, "ct": ct}, {"label": pet.with_name("SEG.nii.gz")}, patient)


def _read_folds(path: Path) -> dict[str, int]:
    """Fold of each case: the number of the split whose validation part holds it."""
    if not path.exists():
        return {}
    try:
        splits = json.loads(path.read_text(encoding="utf-8"))
        return {case: fold for fold, split in enumerate(splits) for case in split["val"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"the splits cannot be read: {error!r}", 'It is a list of {"train", "val"}.', file=path
        ) from error
