"""Find the intact DICOM files of a directory without a DICOM library.

GDCM allocates the length that an element states before it checks that the file is as long: a broken file of one
kilobyte costs gigabytes. Therefore the lengths of all elements are followed through each file first (DICOM PS3.5, 7.1).
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

from monai_ext.errors import DataError

__all__ = ["check_elements", "intact_series"]

LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
SHORT = {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL"}
SHORT |= {b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}
IMPLICIT, DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
UNDEFINED = 0xFFFFFFFF
ITEM = b"\xfe\xff\x00\xe0"


def check_elements(path: str | Path) -> bool:
    """Follow the elements of a DICOM file to its end.

    Returns:
        Whether it is a DICOM file, with preamble and prefix.

    Raises:
        DataError: an element reaches beyond the end of the file or cannot be parsed.
    """
    if os.path.getsize(path) < 132:
        return False
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[128:132] != b"DICM":
            return False
        _walk(data, path)
    return True


def _walk(data: mmap.mmap, path: str | Path) -> None:
    def refuse(cause: str) -> DataError:
        return DataError(f"{cause} at byte {place}", "It is truncated or damaged: export the series again.", file=path)

    place, order, syntax, fragments = 132, "<", "", False
    while place + 8 <= len(data):
        group, element = struct.unpack_from(f"{order}HH", data, place)
        if group != 2 and syntax == BIG_ENDIAN and order == "<":
            order = ">"
            group, element = struct.unpack_from(">HH", data, place)
        if group != 2 and syntax == DEFLATED:
            raise refuse("the file is deflated, which is not read")
        kind = data[place + 4 : place + 6]
        if (group, element) == (0, 0) and not any(data[place : place + 8]):
            return  # padding
        if group == 0xFFFE or (syntax == IMPLICIT and group != 2):
            kind, length, start = b"", struct.unpack_from(f"{order}I", data, place + 4)[0], place + 8
        elif kind in LONG and place + 12 <= len(data):
            length, start = struct.unpack_from(f"{order}I", data, place + 8)[0], place + 12
        elif kind in SHORT:
            length, start = struct.unpack_from(f"{order}H", data, place + 6)[0], place + 8
        else:
            raise refuse(f"element ({group:04x},{element:04x}) has no known type")
        if length != UNDEFINED and length > len(data) - start:
            raise refuse(f"element ({group:04x},{element:04x}) claims {length} bytes, {len(data) - start} are left")
        if (group, element) == (0x0002, 0x0010):
            syntax = data[start : start + length].rstrip(b"\0 ").decode("latin-1")
        if group == 0xFFFE:  # item, end of item, end of sequence
            fragments = fragments and element != 0xE0DD
            place = start + (length if fragments and length != UNDEFINED else 0)
        elif length == UNDEFINED:
            if kind == b"UN":
                return  # of a private form that is not followed
            fragments, place = (group, element) == (0x7FE0, 0x0010), start
        elif kind == b"SQ" or data[start : start + 4] == ITEM:
            place = start  # its items are elements like others
        else:
            place = start + length


@contextlib.contextmanager
def intact_series(folder: Path, case: object = None) -> Iterator[Path]:
    """Context with the directory itself if it holds only DICOM files, else with a temporary one of links to these.

    Raises:
        DataError: there is no DICOM file, or one is damaged; the error names it.
    """
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    try:
        found = [path for path in files if check_elements(path)]
    except DataError as error:
        raise DataError(error.cause, error.remedy, case, error.file) from error
    if not found:
        formats = "Give NIfTI (.nii, .nii.gz), MetaImage (.mha, .mhd), NRRD, or a directory with one DICOM series."
        raise DataError("the directory holds no DICOM image", formats, case, folder)
    if len(found) == len(files):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="dicom_") as temporary:
        for path in found:
            (Path(temporary) / path.name).symlink_to(path.resolve())
        yield Path(temporary)
