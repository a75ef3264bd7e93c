"""Read shape and position of an image from its header, without its voxels, and detect truncated files."""

from __future__ import annotations

import gzip
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from monai_ext.data.io.dicom_series import intact_series
from monai_ext.data.io.dicom_stack import check_series
from monai_ext.data.io.header_check import check_header, check_size
from monai_ext.errors import DataError

__all__ = ["ImageHeader", "num_axes", "read_header"]

DETACHED = (".mhd", ".nhdr")  # headers whose voxels lie in another file
_DAMAGED = "It is truncated, damaged or no image: copy or export it again."


@dataclass(frozen=True)
class ImageHeader:
    """Shape in voxels, channels last; 4x4 affine, RAS, mm; ``placed`` is False if the file gives no position."""

    shape: tuple[int, ...]
    affine: NDArray[np.float64]
    placed: bool = True


def read_header(path: str | Path) -> ImageHeader:
    """Read the header of a NIfTI, of a file ITK reads (.mha, .nrrd, ...), or of a directory with one DICOM series.

    Raises:
        DataError: the file is missing, empty, unreadable or truncated. The affine is not checked.
    """
    path = Path(path)
    if not os.path.exists(path):  # also False for names that no file system accepts
        raise DataError("there is no such file", "Check the path in the datalist and dataset_dir.", file=path)
    nifti = path.name.lower().endswith((".nii", ".nii.gz"))
    try:
        if path.is_file():
            check_header(path)
        return _read_nifti(path) if nifti else _read_itk(path)
    except DataError:
        raise
    except Exception as error:  # readers raise anything from EOFError to ImageFileError and RuntimeError
        reason = str(error).strip().split("\n")[-1][:160] or type(error).__name__
        raise DataError(f"the header cannot be read ({reason})", _DAMAGED, file=path) from error


def _read_nifti(path: Path) -> ImageHeader:
    header: Any = nib.load(path).header
    shape = tuple(int(n) for n in header.get_data_shape())
    needed = int(header["vox_offset"]) + header.get_data_dtype().itemsize * int(np.prod(shape, dtype=np.int64))
    if (held := _held_bytes(path, needed)) < needed:
        raise DataError(f"the file ends early: {held} of {needed} bytes", _DAMAGED, file=path)
    placed = bool(header["sform_code"] > 0 or header["qform_code"] > 0)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return ImageHeader(shape, np.asarray(header.get_best_affine(), dtype=np.float64), placed)


def _held_bytes(path: Path, needed: int) -> int:
    """Bytes of a file, or of its content if it is compressed.

    A gzip stream ends with its length modulo 2**32, so a complete file costs one seek. Only a file that contradicts its
    header (truncated, or made of several gzip members) is decompressed.
    """
    size = os.path.getsize(path)
    if not path.name.lower().endswith(".gz"):
        return size
    with open(path, "rb") as raw:
        raw.seek(max(size - 4, 0))
        tail = raw.read(4)
    if len(tail) == 4 and struct.unpack("<I", tail)[0] == needed % 2**32:
        return needed
    held = 0
    try:
        with gzip.open(path) as content:
            while held < needed and (chunk := content.read(1 << 22)):
                held += len(chunk)
    except (EOFError, OSError):
        pass
    return held


def _read_itk(path: Path) -> ImageHeader:
    import itk  # late: it takes a second, and data sets of NIfTI do without it

    if path.is_dir():
        check_series(path)
        with intact_series(path) as source:
            names = itk.GDCMSeriesFileNames.New(Directory=str(source))
            files = names.GetFileNames(names.GetSeriesUIDs()[0])
            reader = itk.ImageSeriesReader[itk.Image[itk.F, 3]].New(FileNames=files)
            reader.UpdateOutputInformation()
        image = reader.GetOutput()
        size = tuple(int(n) for n in image.GetLargestPossibleRegion().GetSize())
        return ImageHeader(
            size, _affine(image.GetSpacing(), image.GetOrigin(), itk.array_from_matrix(image.GetDirection()))
        )
    io = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
    if io is None:
        raise DataError("no reader knows this format", _DAMAGED, file=path)
    io.SetFileName(str(path))
    io.ReadImageInformation()
    axes = range(io.GetNumberOfDimensions())
    shape = tuple(int(io.GetDimensions(i)) for i in axes)
    shape += (int(io.GetNumberOfComponents()),) if io.GetNumberOfComponents() > 1 else ()
    check_size(int(io.GetImageSizeInBytes()), path.parent if path.suffix.lower() in DETACHED else path)
    columns = np.array([io.GetDirection(i) for i in axes], dtype=float).T
    return ImageHeader(shape, _affine([io.GetSpacing(i) for i in axes], [io.GetOrigin(i) for i in axes], columns))


def _affine(spacing: Any, origin: Any, direction: Any) -> NDArray[np.float64]:
    """4x4 RAS affine from ITK's LPS geometry, without axes beyond the third."""
    steps = np.array(direction, dtype=np.float64)[:3, :3] * np.array(list(spacing), dtype=np.float64)[:3]
    start = np.array(list(origin), dtype=np.float64)[:3]
    affine = np.eye(4)
    affine[: len(steps), : len(steps)] = steps
    affine[: len(start), 3] = start
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def num_axes(path: Path) -> int:
    """Number of axes longer than one of an image file, from its header; 0 if the header cannot be read."""
    try:
        if path.name.lower().endswith((".nii", ".nii.gz")):
            return sum(size > 1 for size in nib.load(path).shape)  # type: ignore[attr-defined]
        import itk  # late: it takes a second, and data sets of NIfTI do without it

        io = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
        io.SetFileName(str(path))
        io.ReadImageInformation()
        return sum(io.GetDimensions(axis) > 1 for axis in range(io.GetNumberOfDimensions()))
    except Exception:  # the loader reports the error of the file
        return 0
