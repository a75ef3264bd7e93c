"""Check the header of an image against its file, before a reader trusts it and allocates the memory."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from monai_ext.data.io.dicom_series import check_elements
from monai_ext.data.io.limits import check_budget
from monai_ext.data.io.nifti_header import check_nifti
from monai_ext.data.io.nrrd_header import check_nrrd
from monai_ext.errors import DataError

__all__ = ["check_header", "check_pixels", "check_size"]

# Largest compression ratio of an image: deflate reaches 1032 to 1.
MAX_RATIO = 1100
# Bytes of a voxel, by the element type of a MetaImage.
ELEMENTS = {"CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "LONG": 8, "ULONG": 8}
ELEMENTS |= {"LONG_LONG": 8, "ULONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}
ARRAYS = {  # fields that hold one number per axis, or one per pair of axes
    "DimSize": 1,
    "ElementSpacing": 1,
    "ElementSize": 1,
    "Offset": 1,
    "Position": 1,
    "Origin": 1,
    "CenterOfRotation": 1,
    "TransformMatrix": 2,
    "Rotation": 2,
    "Orientation": 2,
}
REMEDY = "It is truncated, damaged or no image: copy or export it again."


def check_size(needed: int, path: str | Path) -> None:
    """Refuse a file, or a directory, that is too small for the voxels that its header announces.

    Args:
        needed: size of the voxels in bytes, from the header.
        path: the file or the directory.

    Raises:
        DataError: the file could not hold the voxels under any compression.
    """
    path = Path(path)
    files = [entry for entry in path.iterdir() if entry.is_file()] if path.is_dir() else [path]
    held = sum(os.path.getsize(file) for file in files)
    if needed < 0 or needed > MAX_RATIO * max(held, 1):
        raise DataError(f"the header claims {needed} bytes of voxels, the file holds {held}", REMEDY, file=path)


def check_header(path: str | Path) -> None:
    """Refuse a file whose header is impossible, claims more voxels than are read, or says that they are no numbers.

    ITK trusts the header of a MetaImage, and the system kills the process when fields are missing, too short or huge.
    Therefore the header is read here first.

    Raises:
        DataError: names the file and the field.
    """
    path = Path(path)
    name = path.name.lower()
    if not os.path.getsize(path):
        raise DataError("the file is empty", REMEDY, file=path)
    if name.endswith((".nii", ".nii.gz")):
        voxels, needed = check_nifti(path)
        check_size(needed, path)
        check_budget(voxels, path)
    elif name.endswith((".mha", ".mhd")):
        _check_meta_image(path)
    elif name.endswith((".nrrd", ".nhdr")):
        voxels, needed, source = check_nrrd(path)
        check_size(needed, source)
        check_budget(voxels, path)
    else:
        check_elements(path)
        _check_by_itk(path)


def _check_by_itk(path: Path) -> None:
    import itk  # late: it takes a second, and data sets of NIfTI do without it

    io = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
    if io is None:
        raise DataError("no reader knows this format", REMEDY, file=path)
    io.SetFileName(str(path))
    io.ReadImageInformation()
    check_pixels(io, path)


def check_pixels(io: Any, path: str | Path) -> None:
    """Refuse an image of ITK, its information read, whose voxels are too many for its file, or no numbers.

    Raises:
        DataError: names the file.
    """
    if io.GetNumberOfComponents() > 1:
        cause = f"its voxels are {io.GetPixelTypeAsString(io.GetPixelType())}, not numbers"
        raise DataError(cause, "Export the scan as grey values.", file=path)
    check_size(int(io.GetImageSizeInBytes()), path)
    check_budget(math.prod(int(io.GetDimensions(axis)) for axis in range(io.GetNumberOfDimensions())), path)


def _check_meta_image(path: Path) -> None:
    fields, end = _meta_fields(path)

    def refuse(cause: str) -> DataError:
        return DataError(f"the header cannot be read ({cause})", REMEDY, file=path)

    try:
        axes = int(fields["NDims"])
        shape = [int(n) for n in fields["DimSize"].split()]
        channels = int(fields.get("ElementNumberOfChannels", "1"))
        kind, data = fields["ElementType"], fields["ElementDataFile"]
    except (KeyError, ValueError) as error:
        raise refuse(f"NDims, DimSize, ElementType or ElementDataFile is missing or no number: {error}") from error
    if not 1 <= axes <= 4 or len(shape) != axes or min(shape) < 1 or not 1 <= channels <= 1000:
        raise refuse(f"NDims = {axes}, DimSize = {shape}, {channels} channels")
    if kind.removeprefix("MET_").removesuffix("_ARRAY") not in ELEMENTS:
        raise refuse(f"ElementType = {kind[:40]}")
    for key, power in ARRAYS.items():
        if key in fields:
            try:
                values = [float(value) for value in fields[key].split()]
            except ValueError as error:
                raise refuse(f"{key} = {fields[key][:40]}") from error
            if len(values) != axes**power or not all(math.isfinite(value) for value in values):
                raise refuse(f"{key} = {fields[key][:40]}")
    needed = math.prod(shape) * channels * ELEMENTS[kind.removeprefix("MET_").removesuffix("_ARRAY")]
    source = path
    if data.upper() != "LOCAL":
        source = path.parent / data
        if os.path.isabs(data) or ".." in Path(data).parts or " " in data or "%" in data or data.upper() == "LIST":
            raise refuse(f"ElementDataFile = {data[:80]}, but a file beside the header is expected")
        if not source.is_file():
            raise refuse(f"its voxels are missing: {source.name}")
    held = os.path.getsize(source) - (end if source == path else 0)
    compressed = fields.get("CompressedData", "False").lower() in ("true", "t", "1")
    if compressed and fields.get("CompressedDataSize", "").isdigit():
        needed_held = int(fields["CompressedDataSize"])
        if held < needed_held:
            raise DataError(f"the file ends early: {held} bytes of voxels, {needed_held} stated", REMEDY, file=path)
    elif held < needed and not compressed:
        raise DataError(f"the file ends early: {held} bytes of voxels, {needed} stated", REMEDY, file=path)
    check_size(needed, source)
    check_budget(math.prod(shape) * channels, path)


def _meta_fields(path: Path) -> tuple[dict[str, str], int]:
    """Fields of a MetaImage's header, and the position of its end, after ElementDataFile, the last field."""
    fields: dict[str, str] = {}
    with open(path, "rb") as file:
        for _ in range(200):
            line = file.readline(4096)
            if not line or len(line) == 4096:
                break
            key, separator, value = line.decode("latin-1").partition("=")
            if not separator or not key.strip().isidentifier() or len(value) > 1000:
                break
            if key.strip() in fields:
                raise DataError(f"the header cannot be read ({key.strip()} occurs twice)", REMEDY, file=path)
            fields[key.strip()] = value.strip()
            if key.strip() == "ElementDataFile":
                break
        return fields, file.tell()
