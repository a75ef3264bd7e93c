"""Read a volume with its position in space, or explain in an actionable error why it cannot be read."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

import nibabel
import numpy as np
import torch
from monai.data import ITKReader, MetaTensor, NibabelReader
from monai.transforms import LoadImage

from monai_ext.data.io.dicom_series import intact_series
from monai_ext.data.io.dicom_stack import FORMATS, check_series
from monai_ext.data.io.header_check import check_header
from monai_ext.errors import DataError

__all__ = ["check_affine", "read_volume"]

# MONAI warns at each new reader that an optional GPU decoder is missing, which is not used here.
logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)


def check_affine(affine: torch.Tensor, case: object = None, file: object = None) -> None:
    """Refuse an affine that cannot place voxels in space: NaN, infinite or singular.

    Raises:
        DataError: the affine is unusable; the error names the case and the file.
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
        stacked: True keeps a fourth axis as the channel instead of refusing it.

    Returns:
        float32 ``[C, X, Y, Z]`` (C = 1 unless ``stacked``) with an RAS affine in mm and the metadata
        ``original_affine``, ``spatial_shape`` and ``filename_or_obj``.

    Raises:
        DataError: the file is missing, damaged, not 3-D, or has no valid affine.
    """
    path = Path(path)
    if not os.path.exists(path):  # also False for names that no file system accepts
        raise DataError("there is no such file", "Check the path in the datalist.", case, path)
    if path.is_dir():
        check_series(path, case)
    nifti = path.name.lower().endswith((".nii", ".nii.gz"))
    reader = NibabelReader(squeeze_non_spatial_dims=True) if nifti else ITKReader(affine_lps_to_ras=True)
    try:
        if path.is_file():
            check_header(path)
        header_affine = nibabel.load(path).affine if nifti else np.eye(4)  # type: ignore[attr-defined]
        loader = LoadImage(reader=reader, image_only=True, ensure_channel_first=True, dtype=np.float32)
        with intact_series(path, case) if path.is_dir() else contextlib.nullcontext(path) as source:
            image = loader(str(source))
    except DataError as error:
        raise DataError(error.cause, error.remedy, case, error.file or path) from error
    except Exception as error:
        reason = str(error).strip().split("\n")[-1][:200] or type(error).__name__
        remedy = f"It is truncated, damaged or no image: copy or export it again as {FORMATS}."
        raise DataError(f"it cannot be read ({reason})", remedy, case, path) from error
    affine = image.affine
    if image.ndim == 5 and image.shape[0] == 1 and affine.shape == (5, 5):  # a MetaImage with a fourth axis
        image = image[0].movedim(-1, 0)
        affine = affine[[0, 1, 2, 4]][:, [0, 1, 2, 4]]
    if image.ndim != 4 or min(image.shape[1:]) < 2:
        shape = "x".join(map(str, image.shape[1:]))
        raise DataError(
            f"a 3-D volume is expected, the file is {shape}", "Give the whole series, not a slice.", case, path
        )
    if image.shape[0] != 1 and not stacked:
        found = f"one 3-D volume is expected, the file holds {image.shape[0]} of them"
        raise DataError(found, "Write each modality to a file of its own.", case, path)
    # MONAI repairs a header whose affine contradicts its spacing; an unusable affine is still refused.
    check_affine(torch.as_tensor(header_affine), case, path)
    check_affine(affine, case, path)
    # Keep only the metadata that is needed later: headers of different formats would not collate.
    meta = {
        "original_affine": affine.clone(),
        "spatial_shape": np.array(image.shape[1:]),
        "filename_or_obj": str(path),
    }
    return MetaTensor(image.as_tensor().contiguous(), affine=affine, meta=meta)
