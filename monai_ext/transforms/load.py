"""Load volumes and refuse, in words a user can act on, those that would spoil a training silently."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Hashable, Mapping
from pathlib import Path

import itk
import nibabel
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import ITKReader, MetaTensor, NibabelReader
from monai.transforms import LoadImage, MapTransform
from monai.utils import ensure_tuple

from monai_ext.errors import DataError
from monai_ext.transforms.claims import check_claims, check_size
from monai_ext.transforms.dicom_files import intact_series
from monai_ext.transforms.plausible import implausible, misnamed

__all__ = ["LoadVolumed", "read_volume"]

# MONAI says at each new reader that an optional GPU decoder is missing; nobody here uses it.
logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)

SERIES_UID, POSITION, ORIENTATION = "0020|000e", "0020|0032", "0020|0037"
FORMATS = "NIfTI (.nii, .nii.gz), MetaImage (.mha, .mhd), NRRD, or a directory with one DICOM series"


def _dicom_tags(file: str) -> dict[str, str]:
    io = itk.GDCMImageIO.New(FileName=file)
    io.ReadImageInformation()
    check_size(int(io.GetImageSizeInBytes()), file)
    tags = io.GetMetaDataDictionary()  # lives in io, hence the copy
    return {tag: str(tags[tag]).strip() for tag in (SERIES_UID, POSITION, ORIENTATION) if tags.HasKey(tag)}


def check_series(folder: Path, case: object = None) -> None:
    """Check a DICOM directory by :func:`_check_stack`; what no reader understands is refused too.

    Raises:
        DataError: no series, several series, an uneven stack, or files that are damaged.
    """
    try:
        with intact_series(folder, case) as safe:
            _check_stack(safe, folder, case)
    except DataError:
        raise
    except Exception as error:  # of ITK and GDCM, or of values that are no numbers
        reason = str(error).strip().split("\n")[-1][:160] or type(error).__name__
        remedy = "A file is truncated or damaged: export the series again."
        raise DataError(f"the DICOM series cannot be read ({reason})", remedy, case, folder) from error


def _check_stack(safe: Path, folder: Path, case: object) -> None:
    """Refuse a DICOM directory that is not one evenly spaced stack of slices.

    ITK would take the first of several series, and would read a series with missing or repeated slices (several
    b-values under one UID, say) with a wrong spacing; both without an error.

    Raises:
        DataError: no series, several series (their SeriesInstanceUIDs are named), or an uneven stack.
    """
    names = itk.GDCMSeriesFileNames.New()
    names.SetUseSeriesDetails(True)
    names.AddSeriesRestriction("0008|0021")  # what MONAI's ITKReader groups by, so that both see the same series
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


def check_affine(affine: torch.Tensor, case: object = None, file: object = None) -> None:
    """Refuse an affine that cannot place voxels in space: NaN, infinite or singular.

    Raises:
        DataError: names the case and the file.
    """
    remedy = "Convert the image from its DICOM source again."
    if not torch.isfinite(affine).all():
        raise DataError("the affine is not finite", remedy, case, file)
    if torch.linalg.det(affine[:3, :3].double()).abs() < 1e-9:
        raise DataError("the affine is singular: an axis has no length or two axes coincide", remedy, case, file)


def read_volume(path: str | Path, case: object = None, stacked: bool = False) -> MetaTensor:
    """Read one image, placed in space.

    Args:
        path: NIfTI, any file ITK reads (.mha, .mhd, .nrrd, ...), or a directory with one DICOM series.
        case: id of the case, for the error.
        stacked: keep a fourth axis as the channel instead of refusing it.

    Returns:
        float32 ``[C, X, Y, Z]`` (C = 1 unless ``stacked``) with an RAS affine in mm and the metadata
        ``original_affine``, ``spatial_shape`` and ``filename_or_obj``.

    Raises:
        DataError: the file is missing, damaged, not 3-D, or has no valid affine.
    """
    path = Path(path)
    if not os.path.exists(path):  # False, too, for names that no file system takes
        raise DataError("there is no such file", "Check the path in the datalist.", case, path)
    if path.is_dir():
        check_series(path, case)
    nifti = path.name.lower().endswith((".nii", ".nii.gz"))
    reader = NibabelReader(squeeze_non_spatial_dims=True) if nifti else ITKReader(affine_lps_to_ras=True)
    try:
        if path.is_file():
            check_claims(path)
        header_affine = nibabel.load(path).affine if nifti else np.eye(4)  # type: ignore[attr-defined]
        loader = LoadImage(reader=reader, image_only=True, ensure_channel_first=True, dtype=np.float32)
        with intact_series(path, case) if path.is_dir() else contextlib.nullcontext(path) as source:
            image = loader(str(source))
    except DataError as error:
        raise DataError(error.cause, error.remedy, case, error.file or path) from error
    except Exception as error:
        reason = str(error).strip().split("\n")[-1][:200] or type(error).__name__
        what = "the file is empty" if path.is_file() and not path.stat().st_size else f"it cannot be read ({reason})"
        remedy = f"It is truncated, damaged or no image: copy or export it again as {FORMATS}."
        raise DataError(what, remedy, case, path) from error
    affine = image.affine
    if image.ndim == 5 and image.shape[0] == 1 and affine.shape == (5, 5):  # a MetaImage with a fourth axis
        image = image[0].movedim(-1, 0)
        affine = affine[[0, 1, 2, 4]][:, [0, 1, 2, 4]]
    if image.ndim != 4 or min(image.shape[1:]) < 2:
        shape = "x".join(map(str, image.shape[1:]))
        raise DataError(f"a 3-D volume is due, the file is {shape}", "Give the whole series, not a slice.", case, path)
    if image.shape[0] != 1 and not stacked:
        found = f"a 3-D volume is due, the file holds {image.shape[0]} of them"
        raise DataError(found, "Write each modality to a file of its own.", case, path)
    # MONAI mends a header whose affine contradicts its spacing; one that places nothing is refused all the same.
    check_affine(torch.as_tensor(header_affine), case, path)
    check_affine(affine, case, path)
    # Only what is needed later: headers of different formats would not collate.
    meta = {
        "original_affine": affine.clone(),
        "spatial_shape": np.array(image.shape[1:]),
        "filename_or_obj": str(path),
    }
    return MetaTensor(image.as_tensor().contiguous(), affine=affine, meta=meta)


class LoadVolumed(MapTransform):
    """Load volumes into ``[1, X, Y, Z]`` float32 with an RAS affine, and check them.

    A value that is a tensor already (from :class:`StackedModalitiesd`) is checked only. Warnings, which name the case:
    a constant volume, values that the key's modality does not have, a file that is called like another modality.

    Args:
        keys: keys of the paths; keep clear of names that begin with ``image_`` (MONAI's Spacingd trips over them).
        repair: set NaN and infinite voxels to 0, with a warning that counts them, instead of refusing the volume.
        masks: keys that may be constant.
        case_key: key of the case's id, for messages.
        allow_missing_keys: skip keys an item does not have.

    Raises:
        DataError: see :func:`read_volume`, and for NaN or infinite voxels, one of which would make a normalized
            volume NaN throughout.
    """

    def __init__(
        self,
        keys: KeysCollection,
        repair: bool = False,
        masks: KeysCollection = ("label", "gland"),
        case_key: str = "id",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.repair, self.masks, self.case_key = repair, ensure_tuple(masks), case_key
        self._modalities = [str(key) for key in self.keys if key not in self.masks]

    def __call__(self, data: Mapping[Hashable, object]) -> dict[Hashable, object]:
        """Load and check ``self.keys`` of one item."""
        item = dict(data)
        case = item.get(self.case_key)
        for key in self.key_iterator(item):
            value = item[key]
            loaded = isinstance(value, MetaTensor)
            image = value if isinstance(value, MetaTensor) else read_volume(str(value), case)
            item[key] = self._checked(image, case, key)
            if not loaded and (other := misnamed(str(key), str(value), self._modalities)):
                warnings.warn(f"case {case}: {value}: given as {key}, called like {other}", stacklevel=2)
        return item

    def _checked(self, image: MetaTensor, case: object, key: Hashable) -> MetaTensor:
        file, values = image.meta.get("filename_or_obj"), image.as_tensor()
        broken = ~torch.isfinite(values)
        if count := int(broken.sum()):
            if not self.repair:
                remedy = "Export it again, or set repair=True to replace them by 0."
                raise DataError(f"{count} voxels are NaN or infinite", remedy, case, file)
            warnings.warn(f"case {case}: {file}: {count} NaN or infinite voxels of {key} set to 0", stacklevel=2)
            image = MetaTensor(values.masked_fill(broken, 0), affine=image.affine, meta=dict(image.meta))
        if image.min() == image.max() and key not in self.masks:
            warnings.warn(f"case {case}: {file}: {key} is constant ({float(image.min()):g})", stacklevel=2)
        if found := implausible(str(key), image.as_tensor()):
            warnings.warn(f"case {case}: {file}: {found}", stacklevel=2)
        return image
