"""From one voxel grid to another: onto the reference before the network, back onto the scan's own grid after it."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import ensure_tuple_rep
from torch import Tensor

from monai_ext.errors import DataError
from monai_ext.transforms.resample import coverage, onto_grid, placed, resample_labels

__all__ = [
    "GRID_AFFINE",
    "GRID_SHAPE",
    "RememberGridd",
    "ResampleToReferenced",
    "RestoreLabelsd",
    "RestoreToReferenced",
    "remembered_grid",
    "restored",
]

# Keys of the remembered grid. MONAI's Spacingd fails on strings below "<image key>_", hence neither of its names.
GRID_AFFINE, GRID_SHAPE = "original_affine", "original_shape"


def remembered_grid(item: Mapping[Hashable, Any]) -> tuple[Tensor, tuple[int, ...]]:
    """Affine ``[4, 4]`` (float64, on the CPU) and shape that :class:`RememberGridd` kept.

    Raises:
        ValueError: the item has none.
    """
    if GRID_AFFINE not in item or GRID_SHAPE not in item:
        raise ValueError(f"the item has no {GRID_AFFINE} and {GRID_SHAPE}: RememberGridd has to come first")
    shape = torch.as_tensor(item[GRID_SHAPE]).tolist()
    return torch.as_tensor(item[GRID_AFFINE]).cpu().double(), tuple(shape)


def restored(values: Tensor, item: Mapping[Hashable, Any], image: MetaTensor) -> MetaTensor:
    """Values ``[C, X, Y, Z]`` on the remembered grid of an item, with what saving them needs.

    Args:
        values: the prediction, resampled already.
        item: holds the remembered grid.
        image: the network's input, whose file names the result if the item has no id.
    """
    affine, shape = remembered_grid(item)
    meta = {
        "original_affine": affine.clone(),
        "spatial_shape": np.array(shape),
        # MONAI names what it saves after this; DICOM folders are all called alike, ids are not.
        "filename_or_obj": f"{item['id']}.nii.gz" if "id" in item else image.meta.get("filename_or_obj", ""),
    }
    return placed(values, affine, meta)


class ResampleToReferenced(MapTransform):
    """Resample volumes onto the grid of another one; ``fill`` outside of what was scanned.

    A volume on the reference's grid already is left as it is.

    Args:
        keys: volumes ``[C, X, Y, Z]``.
        reference: key of the volume whose grid is taken.
        mode: ``"bilinear"`` for images, ``"nearest"`` for labels; one, or one per key.
        min_coverage: warn when a volume covers less than this share of the reference.
        fill: value outside of what was scanned; -1024 for CT in HU.
        allow_missing_keys: skip keys an item does not have.

    Raises:
        DataError: a volume does not overlap with the reference at all.
    """

    def __init__(
        self,
        keys: KeysCollection,
        reference: str,
        mode: str | Sequence[str] = "bilinear",
        min_coverage: float = 0.25,
        fill: float = 0.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.reference, self.min_coverage, self.fill = reference, min_coverage, fill
        self.mode = ensure_tuple_rep(mode, len(self.keys))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Resample ``self.keys`` of one item."""
        item = dict(data)
        reference = item[self.reference]
        shape = tuple(reference.shape[1:])
        for key, mode in self.key_iterator(item, self.mode):
            image = item[key]
            if image.shape[1:] == shape and torch.allclose(image.affine, reference.affine, atol=1e-3):
                continue
            case, file = item.get("id"), image.meta.get("filename_or_obj")
            share = coverage(image.affine, image.shape[1:], reference.affine, shape)
            if share == 0:
                found = f"{key} and {self.reference} do not overlap in space"
                raise DataError(found, "Are they of the same patient and study, with intact headers?", case, file)
            if share < self.min_coverage:
                warnings.warn(f"case {case}: {file}: covers {share:.0%} of {self.reference} only", stacklevel=2)
            item[key] = onto_grid(image, reference.affine, shape, mode, self.fill)
        return item


class RememberGridd(Transform):
    """Keep the grid of a loaded volume, before anything changes it, as two plain tensors.

    ``original_affine`` float64 ``[4, 4]`` (voxel to mm, RAS) and ``original_shape`` int64 ``[3]``. Plain tensors
    survive collating, decollating and caching.

    Args:
        key: the volume.
    """

    def __init__(self, key: str) -> None:
        self.key = key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the two tensors to one item."""
        image = data[self.key]
        return {
            **data,
            GRID_AFFINE: image.affine.clone().double(),
            GRID_SHAPE: torch.tensor(image.shape[1:], dtype=torch.int64),
        }


class RestoreToReferenced(MapTransform):
    """Put a prediction back onto the grid that :class:`RememberGridd` kept; 0 outside of what the network saw.

    For decollated items. Restore probability maps with ``"bilinear"`` and take the threshold or argmax after it;
    ``"nearest"`` is for label maps.

    Args:
        keys: predictions ``[C, X, Y, Z]`` on the grid of ``grid``.
        grid: key of the network's input; its affine places the prediction.
        mode: ``"bilinear"`` or ``"nearest"``; one, or one per key.
        allow_missing_keys: skip keys an item does not have.

    Raises:
        ValueError: the prediction's shape is not that of ``grid``, or the item has no remembered grid.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        grid: str = "image",
        mode: str | Sequence[str] = "bilinear",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.grid, self.mode = grid, ensure_tuple_rep(mode, len(self.keys))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Restore ``self.keys`` of one item."""
        item = dict(data)
        affine, shape = remembered_grid(item)
        grid = item[self.grid]
        for key, mode in self.key_iterator(item, self.mode):
            pred = item[key]
            if pred.shape[1:] != grid.shape[1:]:
                raise ValueError(f"{key} has shape {tuple(pred.shape)}, {self.grid} {tuple(grid.shape)}")
            source = MetaTensor(torch.as_tensor(pred).detach().float(), affine=grid.affine.cpu().double())
            item[key] = restored(onto_grid(source, affine, shape, mode).to(pred.dtype), item, grid)
        return item


class RestoreLabelsd(MapTransform):
    """Put a label map back onto the grid that :class:`RememberGridd` kept, see :func:`resample_labels`.

    For decollated items. (Class probabilities of few classes can go back with :class:`RestoreToReferenced`.)

    Args:
        keys: label maps ``[1, X, Y, Z]`` on the grid of ``grid``.
        grid: key of the network's input; its affine places the label map.
        allow_missing_keys: skip keys an item does not have.

    Raises:
        ValueError: a label map's shape is not that of ``grid``, or the item has no remembered grid.
    """

    def __init__(self, keys: KeysCollection = "pred", grid: str = "image", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.grid = grid

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Restore ``self.keys`` of one item."""
        item = dict(data)
        affine, shape = remembered_grid(item)
        grid = item[self.grid]
        for key in self.key_iterator(item):
            labels = item[key]
            if labels.shape != (1, *grid.shape[1:]):
                raise ValueError(f"{key} has shape {tuple(labels.shape)}, {self.grid} {tuple(grid.shape)}")
            values = resample_labels(labels.as_subclass(Tensor)[0], grid.affine, affine, shape)
            item[key] = restored(values[None], item, grid)
        return item
