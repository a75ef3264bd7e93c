"""The label as it was drawn, for scores on the grid of the scan."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from monai_ext.data.io.volume import read_volume
from monai_ext.transforms.preprocessing import Preprocessing

__all__ = ["OriginalLabeld"]


class OriginalLabeld(MapTransform):
    """Read the label again from its file: resampled to the network's spacing and back it would not be the same.

    The label's metadata must name its file, as those of all preprocessings do. For decollated items, beside
    :class:`MaskOutput`, which puts the prediction on the grid of the scan.

    Args:
        keys: labels.
        lesion_from: values from this one on are lesion; None keeps the classes as they are.
        preprocessing: that of the network, whose ``lesion_values`` or ``lesion_from`` are taken instead.
        allow_missing_keys: skip keys an item does not have.

    Raises:
        DataError: the file cannot be read any more.
    """

    def __init__(
        self,
        keys: KeysCollection = "label",
        lesion_from: int | None = 1,
        allow_missing_keys: bool = False,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.lesion_from: int | None = getattr(preprocessing, "lesion_from", lesion_from)
        self.lesion_values: Sequence[int] | None = getattr(preprocessing, "lesion_values", None)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the labels of one item: uint8 ``[1, X, Y, Z]`` on the grid of the file, lesion 1."""
        item = dict(data)
        for key in self.key_iterator(item):
            label = read_volume(item[key].meta["filename_or_obj"], item.get("id"))
            values = label.as_tensor()
            if self.lesion_values is not None:
                values = torch.isin(values, torch.tensor(self.lesion_values, dtype=values.dtype))
            elif self.lesion_from is not None:
                values = values >= self.lesion_from
            values = values.to(torch.uint8).to(item[key].device)
            item[key] = MetaTensor(values, affine=label.affine, meta=dict(label.meta))
        return item
