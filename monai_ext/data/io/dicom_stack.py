"""Check that a directory of DICOM files is one evenly spaced stack of slices; nothing else is read."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from monai_ext.data.io.dicom_series import intact_series
from monai_ext.data.io.header_check import check_pixels
from monai_ext.data.io.limits import check_budget
from monai_ext.errors import DataError

__all__ = ["FORMATS", "check_series"]

SERIES_UID, POSITION, ORIENTATION = "0020|000e", "0020|0032", "0020|0037"
VOXELS = "voxels"  # of a file, all frames
FORMATS = "NIfTI (.nii, .nii.gz), MetaImage (.mha, .mhd), NRRD, or a directory with one DICOM series"


def _dicom_tags(file: str) -> dict[str, str]:
    import itk  # late: it takes a second, and data sets of NIfTI do without it

    io = itk.GDCMImageIO.New(FileName=file)
    io.ReadImageInformation()
    check_pixels(io, file)
    tags = io.GetMetaDataDictionary()  # lives in io, hence the copy
    found = {tag: str(tags[tag]).strip() for tag in (SERIES_UID, POSITION, ORIENTATION) if tags.HasKey(tag)}
    sizes = [io.GetDimensions(axis) for axis in range(io.GetNumberOfDimensions())]
    return found | {VOXELS: str(math.prod(sizes))}


def check_series(folder: Path, case: object = None) -> None:
    """Check a DICOM directory by :func:`_check_stack`, and refuse files that no reader can read.

    Raises:
        DataError: no series, several series, an uneven stack, or files that are damaged.
    """
    try:
        with intact_series(folder, case) as safe:
            _check_stack(safe, folder, case)
    except DataError as error:
        raise DataError(error.cause, error.remedy, case, error.file or folder) from error
    except Exception as error:  # errors of ITK and GDCM, or of values that are not numbers
        reason = str(error).strip().split("\n")[-1][:160] or type(error).__name__
        remedy = "A file is truncated or damaged: export the series again."
        raise DataError(f"the DICOM series cannot be read ({reason})", remedy, case, folder) from error


def _check_stack(safe: Path, folder: Path, case: object) -> None:
    """Refuse a DICOM directory that is not one evenly spaced stack of slices.

    ITK would silently take the first of several series, and would silently read a series with missing or repeated
    slices (such as several b-values under one UID) with a wrong spacing.

    Raises:
        DataError: no series, several series (their SeriesInstanceUIDs are named), or an uneven stack.
    """
    import itk  # late: it takes a second, and data sets of NIfTI do without it

    names = itk.GDCMSeriesFileNames.New()
    names.SetUseSeriesDetails(True)
    names.AddSeriesRestriction("0008|0021")  # MONAI's ITKReader groups by it, so both see the same series
    names.SetDirectory(str(safe))
    groups = [list(names.GetFileNames(group)) for group in names.GetSeriesUIDs()]
    if not groups:
        raise DataError("the directory holds no DICOM image", f"Give {FORMATS}.", case, folder)
    uids = sorted({_dicom_tags(group[0]).get(SERIES_UID, "") for group in groups})
    if len(uids) > 1:
        found = f"the directory holds {len(uids)} DICOM series: {', '.join(uids)}"
        raise DataError(found, "Put the series you want into a directory of its own.", case, folder)
    if len(groups) > 1:
        found = f"DICOM series {uids[0]} holds {len(groups)} stacks that differ in orientation, size or protocol"
        raise DataError(found, "Put the stack you want into a directory of its own.", case, folder)
    tags = [_dicom_tags(file) for file in groups[0]]
    check_budget(sum(int(tag[VOXELS]) for tag in tags), folder)
    if len(tags) < 3:
        return
    if not all(POSITION in tag and ORIENTATION in tag for tag in tags):
        raise DataError("the DICOM slices carry no position", "Export the series again, as images.", case, folder)
    row, column = np.array(tags[0][ORIENTATION].split("\\"), float).reshape(2, 3)
    gaps = np.diff(np.sort([np.array(tag[POSITION].split("\\"), float) @ np.cross(row, column) for tag in tags]))
    if np.abs(gaps - np.median(gaps)).max() > 0.1 * abs(np.median(gaps)) + 1e-3:
        found = f"the {len(tags)} DICOM slices are {gaps.min():.2f} to {gaps.max():.2f} mm apart"
        remedy = "Slices are missing, repeated, or of several b-values: export one complete, even stack."
        raise DataError(found, remedy, case, folder)
