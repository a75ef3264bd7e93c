"""Remove connected components of a mask that are too small, or all but the largest."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["KeepComponentsd", "keep_components"]

TOUCHING = np.ones((3, 3, 3))


def keep_components(mask: NDArray, voxel_ml: float, min_ml: float = 0.0, largest: bool = False) -> NDArray:
    """A label map without the components of each label that are small.

    Voxels that share a face, an edge or a corner touch (26 neighbours).

    Args:
        mask: integers ``[X, Y, Z]``; 0 is background.
        voxel_ml: volume of a voxel in ml.
        min_ml: volume of the smallest component that stays, in ml.
        largest: of each label only the largest component stays, if it is not too small.

    Returns:
        The label map, of the same type.

    Example:
        >>> import numpy as np
        >>> row = np.array([1, 1, 0, 1, 0, 2, 2, 2]).reshape(8, 1, 1)
        >>> keep_components(row, voxel_ml=0.5, min_ml=1.0).ravel().tolist()
        [1, 1, 0, 0, 0, 2, 2, 2]
    """
    kept = mask.copy()
    for label, box in enumerate(ndimage.find_objects(mask), 1):
        if box is None:
            continue
        parts, count = ndimage.label(mask[box] == label, structure=TOUCHING)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)
        small = sizes * voxel_ml < min_ml * (1 - 1e-9)
        if largest:
            small |= np.arange(count + 1) != 1 + sizes[1:].argmax()
        small[0] = False
        kept[box][small[parts]] = 0
    return kept


class KeepComponentsd(MapTransform):
    """:func:`keep_components` of label maps ``[1, X, Y, Z]`` on the grid of the scan, whose affine is in mm.

    Args:
        keys: the label maps.
        min_ml: volume of the smallest component that stays, in ml.
        largest: of each label only the largest component stays.
        allow_missing_keys: skip keys an item does not have.
    """

    def __init__(
        self, keys: KeysCollection, min_ml: float = 0.0, largest: bool = False, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.min_ml, self.largest = min_ml, largest

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Filter the label maps of one item."""
        item = dict(data)
        for key in self.key_iterator(item):
            mask = item[key]
            voxel = float(np.abs(np.linalg.det(mask.affine.cpu().double().numpy()[:3, :3]))) / 1000
            values = torch.as_tensor(mask)[0].cpu().numpy().astype(np.int32)
            kept = torch.from_numpy(keep_components(values, voxel, self.min_ml, self.largest))[None].to(mask.dtype)
            item[key] = MetaTensor(kept, affine=mask.affine.clone(), meta=dict(mask.meta))
        return item
