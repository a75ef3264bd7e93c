"""The label as it was drawn, for scores on the grid of the scan."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from monai_ext.data.io.volume import read_volume

__all__ = ["OriginalLabeld"]


class OriginalLabeld(MapTransform):
    """Read the label again from its file: resampled to the network's spacing and back it would not be the same.

    The label's metadata must name its file, as those of :class:`PETCTPreprocessing` do. For decollated items, beside
    :class:`RestoreToReferenced` of the prediction.

    Args:
        keys: labels.
        lesion_from: values from this one on are lesion.
        allow_missing_keys: skip keys an item does not have.

    Raises:
        DataError: the file cannot be read any more.
    """

    def __init__(self, keys: KeysCollection = "label", lesion_from: int = 1, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.lesion_from = lesion_from

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the labels of one item: uint8 ``[1, X, Y, Z]`` in {0, 1} on the grid of the file."""
        item = dict(data)
        for key in self.key_iterator(item):
            label = read_volume(item[key].meta["filename_or_obj"], item.get("id"))
            lesion = (label.as_tensor() >= self.lesion_from).to(torch.uint8)
            item[key] = MetaTensor(lesion.to(item[key].device), affine=label.affine, meta=dict(label.meta))
        return item
