"""Load volumes and refuse, with an actionable error, those that would silently spoil a training."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import ensure_tuple

from monai_ext.data.io.limits import Limits
from monai_ext.data.io.volume import read_volume
from monai_ext.errors import DataError
from monai_ext.transforms.plausible import implausible, misnamed

__all__ = ["LoadVolumed"]


class LoadVolumed(MapTransform):
    """Load volumes into ``[1, X, Y, Z]`` float32 with an RAS affine, and check them.

    A value that is already a tensor (from :class:`StackedModalitiesd`) is only checked. Warnings name the case and
    report a constant volume, values that do not occur in the key's modality, or a file named like another modality.

    Args:
        keys: keys of the paths. Avoid names that begin with ``image_``, on which MONAI's Spacingd fails.
        repair: True sets NaN and infinite voxels to 0, with a warning that counts them, instead of refusing the volume.
        masks: keys of volumes that may be constant.
        allow_missing_keys: skip keys an item does not have.
        limits: of voxel size and field of view.

    Raises:
        DataError: :func:`read_volume` fails, a grid is out of the limits, or a voxel is NaN or infinite, which would
            make all voxels of a normalized volume NaN.
    """

    def __init__(
        self,
        keys: KeysCollection,
        repair: bool = False,
        masks: KeysCollection = ("label", "gland"),
        allow_missing_keys: bool = False,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.repair, self.masks, self.limits = repair, ensure_tuple(masks), limits or Limits()
        self._modalities = [str(key) for key in self.keys if key not in self.masks]

    def __call__(self, data: Mapping[Hashable, object]) -> dict[Hashable, object]:
        """Load and check ``self.keys`` of one item."""
        item = dict(data)
        case = item.get("id")
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
        self.limits.check(image.affine, image.shape[1:], case, file)
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
