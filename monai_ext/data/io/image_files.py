"""Which files hold an image, and prints of the content of files."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

__all__ = ["content_hash", "detached_voxels", "file_print", "image_files", "image_print"]

BLOCK = 65536  # bytes
WHOLE, SAMPLED = 2**27, 256  # bytes of a file that is read whole; blocks of a larger one
DETACHED = {  # headers whose voxels lie in another file: the field that names it
    ".mhd": re.compile(r"^\s*ElementDataFile\s*=\s*(.+?)\s*$", re.MULTILINE),
    ".nhdr": re.compile(r"^\s*data ?file:\s*(.+?)\s*$", re.MULTILINE),
}


def detached_voxels(path: Path) -> Path | None:
    """The file beside a .mhd or .nhdr that holds its voxels; None if there is none."""
    field = DETACHED.get(path.suffix.lower())
    if field is None or not path.is_file():
        return None
    with open(path, "rb") as file:
        found = field.search(file.read(BLOCK).decode("latin-1"))
    other = path.with_name(Path(found[1]).name) if found else None
    return other if other is not None and other.is_file() and other != path else None


def image_files(path: str | Path) -> list[Path]:
    """All files of an image: itself, the voxels beside its header, or the files of a DICOM folder, in order."""
    path = Path(path)
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file())
    voxels = detached_voxels(path)
    return [path] if voxels is None else [path, voxels]


def content_hash(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def file_print(path: str | Path) -> str:
    """Size and content of a file in a few bytes. A copy of a file has the file's own print.

    Of a gzip file the first and last 64 KiB tell all: its end holds the checksum of what it contains. Another file is
    read whole up to 128 MiB; of a larger one 256 blocks, evenly spaced, are read.

    Raises:
        OSError: the file cannot be read.
    """
    size = os.path.getsize(path)
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        if file.read(2) == b"\x1f\x8b":
            places = [0, max(0, size - BLOCK)]
        elif size <= WHOLE:
            places = list(range(0, size, BLOCK))
        else:
            places = [(size - BLOCK) * number // (SAMPLED - 1) for number in range(SAMPLED)]
        for place in places:
            file.seek(place)
            digest.update(file.read(BLOCK))
    return f"{size}:{digest.hexdigest()[:16]}"


def image_print(path: str | Path) -> str:
    """:func:`file_print` of all files of an image."""
    files = image_files(path)
    if len(files) == 1:
        return file_print(files[0])
    return hashlib.sha256("".join(map(file_print, files)).encode()).hexdigest()[:16]
