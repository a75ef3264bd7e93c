"""Check the header of an NRRD before ITK trusts it: the rules of a MetaImage."""

from __future__ import annotations

import math
import os
from pathlib import Path

from monai_ext.errors import DataError

__all__ = ["check_nrrd"]

REMEDY = "It is truncated, damaged or no image: copy or export it again."
# Bytes of a voxel by its type, which has several names.
TYPES = {"signed char": 1, "int8": 1, "int8_t": 1, "uchar": 1, "unsigned char": 1, "uint8": 1, "uint8_t": 1}
TYPES |= {"short": 2, "short int": 2, "signed short": 2, "signed short int": 2, "int16": 2, "int16_t": 2}
TYPES |= {"ushort": 2, "unsigned short": 2, "unsigned short int": 2, "uint16": 2, "uint16_t": 2}
TYPES |= {"int": 4, "signed int": 4, "int32": 4, "int32_t": 4, "uint": 4, "unsigned int": 4, "uint32": 4, "uint32_t": 4}
TYPES |= {"longlong": 8, "long long": 8, "long long int": 8, "signed long long": 8, "signed long long int": 8}
TYPES |= {"int64": 8, "int64_t": 8, "ulonglong": 8, "unsigned long long": 8, "unsigned long long int": 8}
TYPES |= {"uint64": 8, "uint64_t": 8, "float": 4, "double": 8}
ENCODINGS = {"raw": False, "gzip": True, "gz": True, "bzip2": True, "bz2": True}  # and whether it is compressed
NO_NUMBERS = ("color", "complex", "quaternion")  # in the kind of an axis


def check_nrrd(path: str | Path) -> tuple[int, int, Path]:
    """Refuse an NRRD whose header is impossible, or which takes its voxels from a file that is not beside it.

    Returns:
        Voxels, the bytes that they need, and the file that holds them.

    Raises:
        DataError: names the file and the field.
    """
    path = Path(path)
    fields, end = _fields(path)

    def refuse(key: str) -> DataError:
        return DataError(f"the header cannot be read ({key}: {fields.get(key, 'missing')[:80]})", REMEDY, file=path)

    kind, encoding = fields.get("type", "").lower(), fields.get("encoding", "").lower()
    if kind not in TYPES:
        raise refuse("type")
    if encoding not in ENCODINGS:
        raise refuse("encoding")
    try:
        axes, shape = int(fields["dimension"]), [int(n) for n in fields["sizes"].split()]
    except (KeyError, ValueError):
        raise refuse("sizes" if "dimension" in fields else "dimension") from None
    if not 1 <= axes <= 4 or len(shape) != axes or min(shape) < 1:
        raise refuse("sizes")
    if any(word in fields.get("kinds", "").lower() for word in NO_NUMBERS):
        cause = f"its voxels are {fields['kinds'][:80]}, not numbers"
        raise DataError(cause, "Export the scan as grey values.", file=path)
    for key in ("line skip", "lineskip", "byte skip", "byteskip"):
        if fields.get(key, "0") != "0":
            raise refuse(key)
    source, needed = path, math.prod(shape) * TYPES[kind]
    if (data := fields.get("data file", fields.get("datafile"))) is not None:
        source = path.parent / data
        if os.path.basename(data) != data or not data or "%" in data or " " in data or data.upper() == "LIST":
            raise DataError(f"data file: {data[:80]}, but a file beside the header is expected", REMEDY, file=path)
        if not source.is_file():
            raise DataError(f"its voxels are missing: {source.name}", REMEDY, file=path)
    held = os.path.getsize(source) - (end if source == path else 0)
    if not ENCODINGS[encoding] and held < needed:
        raise DataError(f"the file ends early: {held} bytes of voxels, {needed} stated", REMEDY, file=path)
    return math.prod(shape), needed, source


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """Fields of a header, and the position of its end, an empty line or the end of the file."""
    fields: dict[str, str] = {}
    with open(path, "rb") as file:
        if not file.readline(16).startswith(b"NRRD000"):
            raise DataError("the header cannot be read (it is no NRRD)", REMEDY, file=path)
        for _ in range(400):
            line = file.readline(8192)
            text = line.decode("latin-1").strip()
            if not text or len(line) == 8192:
                break
            if text.startswith("#") or ":=" in text:  # a comment, or a note without meaning for the voxels
                continue
            key, separator, value = text.partition(":")
            key = key.strip().lower()
            if not separator or key in fields:
                cause = f"the header cannot be read ({key[:40]!r} is no field or occurs twice)"
                raise DataError(cause, REMEDY, file=path)
            fields[key] = value.strip()
        return fields, file.tell()
