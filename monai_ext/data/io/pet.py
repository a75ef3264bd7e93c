"""Read a PET in SUV from any of its formats."""

from __future__ import annotations

from pathlib import Path

from monai.data import MetaTensor

from monai_ext.data.io.dicom_pet import read_pet_series
from monai_ext.data.io.image_header import num_axes
from monai_ext.data.io.volume import read_volume

__all__ = ["read_pet"]


def read_pet(path: str | Path, case: object = None) -> MetaTensor:
    """The PET of a study in SUV by body weight, float32 ``[1, X, Y, Z]`` on its own grid.

    Args:
        path: an image in SUV, a directory with a DICOM series, which is converted, or a 4-D file of CT and PET.
        case: id of the case, for messages.

    Raises:
        DataError: the file cannot be used, or the series lacks what the conversion needs.
    """
    if Path(path).is_dir():
        return read_pet_series(path, case)
    if num_axes(Path(path)) == 4:
        stack = read_volume(path, case, stacked=True)
        return MetaTensor(stack.as_tensor()[1:2].clone(), affine=stack.affine, meta=dict(stack.meta))
    return read_volume(path, case)
