"""HECKTOR (Andrearczyk et al. 2020): PET/CT of head and neck cancer, the sets of 2020 to 2026."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

from monai_ext.datalist.writer import Collection
from monai_ext.errors import DataError

__all__ = ["hecktor", "read_boxes"]

_CT = re.compile(r"(?P<case>[A-Za-z]+[-_]?\d+)(?P<mark>__|_)(CT|ct)\.nii(\.gz)?")


def hecktor(
    root: str,
    out: str,
    boxes: str | None = None,
    num_folds: int = 5,
    skip_incomplete: bool = False,
) -> str:
    """Write the datalist of HECKTOR from the CT, PET (SUV) and masks anywhere below ROOT.

    2020: {case}/{case}_{ct,pt,ct_gtvt}.nii.gz. 2021: {case}_{ct,pt,gtvt}.nii.gz. 2022: imagesTr/{case}__{CT,PT}.nii.gz
    and labelsTr/{case}.nii.gz. 2025 and 2026: {case}/{case}__{CT,PT}.nii.gz and {case}/{case}.nii.gz. The keys are ct,
    pet and label; PET and CT differ in their grids. Masks hold 1 primary tumor and, since 2022, 2 lymph nodes. A case
    without a mask goes to the section "unlabelled". The field center holds the letters of the case's name.

    Args:
        root: directory of the unpacked archive.
        out: datalist to write.
        boxes: CSV of 2020 or 2021 with the bounding boxes of 144 mm; by default the CSV below ROOT whose name holds
            "bbox". Each becomes the field box: x, y, z of two corners in mm, with x to the right and y to the front
            (RAS, as in the affine of the NIfTI; the table has them to the left and to the back).
        num_folds: number of folds by patient, from a hash.
        skip_incomplete: True leaves out cases with missing or unreadable files instead of stopping.
    """
    cases = Collection("HECKTOR", Path(root))
    tables = [Path(boxes)] if boxes else sorted(cases.root.rglob("*bbox*.csv"))
    corners: dict[str, list[float]] = {}
    for table in tables:
        corners |= read_boxes(table)
    found: dict[str, Path] = {}
    for file in sorted(cases.root.rglob("*.nii*")):
        if (match := _CT.fullmatch(file.name)) and match["case"] not in found:
            case, mark = match["case"], match["mark"]
            found[case] = file
            pet = file.with_name(
                file.name.replace(f"{mark}{match[3]}.", f"{mark}{'PT' if match[3] == 'CT' else 'pt'}.")
            )
            about: dict[str, Any] = {"center": re.split(r"[-_\d]", case)[0]}
            about |= {"box": corners[case]} if case in corners else {}
            mask = _find_mask(file, case)
            cases.add(case, {"ct": file, "pet": pet}, {"label": mask}, positive=mask is not None, **about)
    return cases.write(out, num_folds, skip_incomplete)


def read_boxes(path: Path) -> dict[str, list[float]]:
    """Bounding box by patient from the columns PatientID, x1, x2, y1, y2, z1, z2: corners in mm, RAS.

    Raises:
        DataError: the table cannot be read.
    """
    result = {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as rows:
            for row in csv.DictReader(rows):
                x1, x2, y1, y2, z1, z2 = (float(row[key]) for key in ("x1", "x2", "y1", "y2", "z1", "z2"))
                result[row["PatientID"]] = [-x2, -y2, z1, -x1, -y1, z2]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"the bounding boxes cannot be read: {error!r}",
            "The columns are PatientID, x1, x2, y1, y2, z1, z2.",
            file=path,
        ) from error
    return result


def _find_mask(ct: Path, case: str) -> Path | None:
    """Mask of the case, beside the CT or in the folder of labels; 2022 writes some numbers with another hyphen."""
    folders = [ct.parent, ct.parent.parent / "labelsTr"]
    names = (f"{case}_ct_gtvt", f"{case}_gtvt", case, case.replace("-", "_"))
    paths = (folder / f"{name}.nii{end}" for folder in folders for name in names for end in (".gz", ""))
    return next((path for path in paths if path.exists()), None)
