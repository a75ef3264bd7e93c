"""Check the header of a NIfTI before nibabel trusts it."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path
from typing import Any

import nibabel

from monai_ext.errors import DataError

__all__ = ["check_nifti"]

REMEDY = "It is truncated, damaged or no image: copy or export it again."
EXTENSIONS = 2**26  # most bytes before the voxels
FORMS: dict[int, Any] = {348: nibabel.Nifti1Header, 540: nibabel.Nifti2Header}  # type: ignore[attr-defined]


def check_nifti(path: str | Path) -> tuple[int, int]:
    """Refuse a NIfTI whose voxels are no numbers, or whose extensions reach beyond the voxels' place.

    nibabel reads as many bytes of an extension as it says it has: two gigabytes of a small gzip file.

    Returns:
        Voxels, and the bytes that they need.

    Raises:
        DataError: names the file and what is wrong.
    """
    path = Path(path)
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    with opened(path, "rb") as file:
        raw = file.read(544)
        sizes = [struct.unpack_from(f"{order}i", raw)[0] for order in "<>"] if len(raw) >= 4 else []
        size = next((size for size in sizes if size in FORMS), 0)
        if len(raw) < size + 4 or not size:
            raise DataError("the header cannot be read (it is no NIfTI)", REMEDY, file=path)
        order = "<>"[sizes.index(size)]
        header = FORMS[size](raw[:size], order, check=False)
        offset = float(header["vox_offset"])
        if not (offset == 0 or size + 4 <= offset <= EXTENSIONS) or offset % 1:
            raise DataError(f"the header cannot be read (its voxels begin at byte {offset:g})", REMEDY, file=path)
        place = size + 4
        head = raw + (file.read(int(offset) - len(raw)) if raw[size] and offset > len(raw) else b"")
    while raw[size] and place + 8 <= min(int(offset), len(head)):
        length = struct.unpack_from(f"{order}i", head, place)[0]
        if length < 8 or place + length > offset:
            raise DataError(f"the header cannot be read (an extension of {length} bytes)", REMEDY, file=path)
        place += length
    element = header.get_data_dtype()
    if element.names or element.kind not in "biuf":
        what = "colours" if element.names else "complex numbers"
        raise DataError(f"its voxels are {what}, not numbers", "Export the scan as grey values.", file=path)
    voxels = math.prod(int(n) for n in header.get_data_shape())
    return voxels, voxels * element.itemsize
