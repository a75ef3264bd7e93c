"""From a T2W scan and its gland mask to what the gland network learns from."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.transforms import Compose, CopyItemsd, Orientationd, Resized

from monai_ext.errors import DataError
from monai_ext.transforms.grid import ResampleToReferenced
from monai_ext.transforms.intensity import ClipZScored
from monai_ext.transforms.load import LoadVolumed
from monai_ext.transforms.preprocessing import Preprocessing
from monai_ext.transforms.siblings import SiblingModalitiesd

__all__ = ["GlandPreprocessing"]


class GlandPreprocessing(Preprocessing):
    """T2W resized and normalized as :class:`BpMRIPreprocessing` does before it asks for the gland (prostate MAE, A.1).

    An item names ``t2w`` and ``gland`` (any value above 0 is gland). The result has ``image`` float32 ``[1, *size]``,
    ``label`` uint8 ``[1, *size]`` and the ``id``.

    Args:
        size: voxels of the result, see :class:`GlandPredictor`.
        resample_size: voxels of the grid on which intensities are normalized.
        zones: learn from the union of PZ and TZ (file ``zones``) where an item has it, as adU-Net crops by them.

    Raises:
        DataError: any input that cannot be used, or an empty gland mask; names the case, the file and the remedy.
    """

    VERSION = 2  # 2: the arguments are printed as by all preprocessings

    def __init__(
        self, size: Sequence[int] = (96, 96, 32), resample_size: Sequence[int] = (192, 192, 64), zones: bool = False
    ) -> None:
        self.zones = zones
        self.size, self.resample_size = tuple(size), tuple(resample_size)
        keys, modes = ("t2w", "gland"), ("trilinear", "nearest-exact")
        super().__init__(SiblingModalitiesd("t2w", siblings={}, optional={"gland": "_gland"}))
        self._prepare = Compose(
            [
                LoadVolumed(keys, masks=("gland",)),
                Orientationd(keys, axcodes="RAS", labels=None),
                ResampleToReferenced("gland", "t2w", mode="nearest"),
                Resized(keys, self.resample_size, mode=modes),
                ClipZScored("t2w"),
                Resized(keys, self.size, mode=modes),
                CopyItemsd(keys, names=("image", "label")),
            ]
        )

    def resolve(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """What of an item goes into the result (a lesion label does not), with the files it need not name."""
        item = super().resolve(data)
        if self.zones and item.get("zones") is not None:
            item["gland"] = item["zones"]
        return {key: value for key, value in item.items() if key in ("id", "t2w", "gland")}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Prepare one item."""
        item = self.resolve(data)
        case = item.get("id")
        if "gland" not in item:
            raise DataError("there is no gland mask", "Name it as 'gland' in the datalist.", case, item["t2w"])
        file = item["gland"]
        item = self._prepare(item)
        item["label"] = (item["label"] > 0).to(torch.uint8)
        if not item["label"].any():
            remedy = "Check that the mask belongs to this T2W image, or leave the case out."
            raise DataError("the gland mask is empty on the grid of T2W", remedy, case, file)
        return {key: item[key] for key in ("id", "image", "label") if key in item}
