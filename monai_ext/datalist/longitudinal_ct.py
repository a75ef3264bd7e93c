"""CT scans of the same patients over time, without labels, for pretraining (autoPET IV, and any folder of CT)."""

from __future__ import annotations

import re
from pathlib import Path

from monai_ext.datalist.writer import Collection

__all__ = ["longitudinal_ct"]

_MASK = re.compile(r"(^|[_-])(mask|masks|seg|segmentation|label|labels|targets?)(tr|ts|bl|fu)*([_-]|$)", re.IGNORECASE)


def longitudinal_ct(root: str, out: str, num_folds: int = 5, skip_incomplete: bool = False) -> str:
    """Write a datalist of all CT below ROOT: key ct, section "unlabelled", folds by patient.

    autoPET IV and Longitudinal-CT: inputsTr/{patient}_BL_img_00.nii.gz, {patient}_FU_img_01.nii.gz, ... Other layouts:
    {patient}/{anything}.nii.gz. The patient is the name of a file up to its first underscore, or the folder where a
    folder of ROOT holds the scans of one patient. Files and folders named as masks are left out (mask, seg, label,
    targets).

    Args:
        root: directory that holds the scans.
        out: datalist to write.
        num_folds: number of folds by patient, from a hash.
        skip_incomplete: True leaves out unreadable scans instead of stopping.
    """
    cases = Collection("longitudinal CT", Path(root))
    for file in sorted(cases.root.rglob("*.nii*")):
        relative = file.relative_to(cases.root)
        stem = re.sub(r"\.nii(\.gz)?$", "", file.name)
        if any(_MASK.search(part) for part in (*relative.parts[:-1], stem)):
            continue
        shared = len(relative.parts) == 1 or relative.parts[-2].lower().startswith(("inputs", "images"))
        patient = stem.split("_")[0] if shared else relative.parts[0]
        name = stem if shared else "_".join((*relative.parts[:-1], stem))
        cases.add(re.sub(r"[^\w.-]+", "_", name), {"ct": file}, patient=patient)
    return cases.write(out, num_folds, skip_incomplete)
