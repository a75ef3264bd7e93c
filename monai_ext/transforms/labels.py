"""Check that a label belongs to its image."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from monai_ext.errors import DataError

__all__ = ["CheckLabeld"]


class CheckLabeld(MapTransform):
    """Refuse a label that is not on its image's grid or holds unknown values; cast it to uint8.

    Args:
        keys: keys of the loaded labels ``[1, X, Y, Z]``.
        reference: key of the image that the labels were drawn on.
        allowed: values that a label may hold.
        tolerance: largest difference of an affine entry, in mm.
        allow_missing_keys: skip labels an item does not have.

    Raises:
        DataError: shape or affine differ from the reference's, or values are not in ``allowed``. The error lists the
            found and the allowed values. A label of non-integer values fails too.
    """

    def __init__(
        self,
        keys: KeysCollection,
        reference: str,
        allowed: Collection[int] = (0, 1),
        tolerance: float = 1e-3,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.reference, self.allowed, self.tolerance = reference, tuple(allowed), tolerance

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Check and cast ``self.keys`` of one item."""
        item = dict(data)
        case, reference = item.get("id"), item[self.reference]
        for key in self.key_iterator(item):
            label = item[key]
            file = label.meta.get("filename_or_obj")
            remedy = f"Resample the label onto the grid of {self.reference}, nearest neighbour."
            if label.shape[1:] != reference.shape[1:]:
                found = f"{key} has {tuple(label.shape[1:])} voxels, {self.reference} {tuple(reference.shape[1:])}"
                raise DataError(found, remedy, case, file)
            offset = (label.affine - reference.affine).abs().max().item()
            if offset > self.tolerance:
                found = f"the affines of {key} and {self.reference} differ by up to {offset:.4g} mm"
                raise DataError(found, remedy, case, file)
            values = torch.unique(label.as_tensor()).tolist()
            if unknown := [value for value in values if value not in self.allowed]:
                found = f"{key} holds the values {unknown[:8]}, allowed are {sorted(self.allowed)}"
                raise DataError(found, "Map the values, or name them in the config.", case, file)
            item[key] = label.to(torch.uint8)
        return item
