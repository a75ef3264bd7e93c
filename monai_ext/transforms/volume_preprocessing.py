"""From the files of a 3-D scan (CT, MR, PET) to the volume that a 3-D network takes its crops from."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import ConcatItemsd, Orientationd, Spacing, Transform

from monai_ext.transforms.fixed_scale import FixedScale
from monai_ext.transforms.grid import RememberGridd, ResampleToReferenced
from monai_ext.transforms.intensity import ClipZScored
from monai_ext.transforms.labels import CheckLabeld
from monai_ext.transforms.load import LoadVolumed
from monai_ext.transforms.preprocessing import Preprocessing
from monai_ext.transforms.resample import placed
from monai_ext.transforms.siblings import SiblingModalitiesd, StackedModalitiesd

__all__ = ["VolumePreprocessing"]


class VolumePreprocessing(Preprocessing):
    """All that is deterministic between the files of a scan and the network (AnatoMask, 4.1).

    Loads and checks image and label (NIfTI, MetaImage, NRRD, a DICOM directory); orients them (RAS); resamples them to
    ``spacing``, the image linearly, the label by nearest neighbour; clips every channel to percentiles of its own and
    brings it to zero mean and unit variance over the volume (z-score). Modalities in ``scales`` are scaled by fixed
    numbers instead: in HU a value keeps its meaning whatever the field of view.

    An item names ``image``, and optionally ``label`` and ``id``. With several ``modalities`` it names each of them, or
    only the first if the others lie beside it and are named alike (:class:`SiblingModalitiesd`), or ``image`` as one
    4-D file of all; all are brought onto the grid of the first.

    The result has

    - ``image`` float32 ``[C, X, Y, Z]``,
    - ``label`` uint8 ``[1, X, Y, Z]``, if the item has one,
    - ``id`` (the first file's name if the item has none),
    - ``original_affine`` and ``original_shape``, the scan's own grid, for the way back,

    and what else was in the item, except the volumes that went into these.

    Args:
        modalities: keys of the images, one channel each.
        spacing: mm of a voxel along right-left, posterior-anterior and foot-head; None keeps the scan's own.
        percentiles: to which intensities are clipped.
        num_classes: a label may hold 0 to ``num_classes - 1``.
        with_label: False leaves a label alone (pretraining, inference).
        repair: set NaN voxels to 0 with a warning instead of refusing the volume.
        scales: by modality: lower end, upper end, mean and standard deviation, and True for those of the logarithm,
            see :class:`FixedScale`.
        limits: limits of the scan in place of the class's, by name: ``{"extent": [10, 900]}``, see :class:`Limits`.

    Raises:
        DataError: any input that cannot be used; names the case, the file and the remedy.
        ValueError: when ``spacing`` is not three positive numbers, or ``scales`` names a modality that is none.
    """

    VERSION = 2  # 2: the label names its own file

    def __init__(
        self,
        modalities: Sequence[str] = ("image",),
        spacing: Sequence[float] | None = (1.5, 1.5, 1.5),
        percentiles: tuple[float, float] = (0.5, 99.5),
        num_classes: int = 2,
        with_label: bool = True,
        repair: bool = False,
        scales: Mapping[str, Sequence[Any]] | None = None,
        limits: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        if unknown := sorted(set(scales or {}) - set(modalities)):
            raise ValueError(f"scales names {unknown}, the modalities are {list(modalities)}")
        if spacing is not None and (len(spacing) != 3 or min(spacing) <= 0):
            raise ValueError(f"spacing must be three positive numbers, got {spacing}")
        self.modalities = tuple(modalities)
        self.spacing = None if spacing is None else tuple(float(mm) for mm in spacing)
        self.percentiles = tuple(float(p) for p in percentiles)
        self.num_classes, self.with_label, self.repair = num_classes, with_label, repair
        self.limits = self.LIMITS.changed(limits)
        first, *others = self.modalities
        labels = ("label",) if with_label else ()
        super().__init__(
            SiblingModalitiesd(first, {name: f"_{name}" for name in others}),
            StackedModalitiesd("image", self.modalities) if others else None,
        )
        self._load: tuple[Transform, ...] = (
            LoadVolumed((*self.modalities, *labels), repair, masks=labels, allow_missing_keys=True, limits=self.limits),
            RememberGridd(first),
            *(CheckLabeld(key, first, range(num_classes), allow_missing_keys=True) for key in labels),
            # The order of the axes in a file depends on its format; the network must not see that.
            Orientationd((*self.modalities, *labels), axcodes="RAS", labels=None, allow_missing_keys=True),
            *((ResampleToReferenced(tuple(others), first),) if others else ()),
        )
        self._label_back = ResampleToReferenced("label", first, mode="nearest", min_coverage=0, allow_missing_keys=True)
        self.scales = {key: FixedScale(*values) for key, values in (scales or {}).items()}
        scored = tuple(key for key in self.modalities if key not in self.scales)
        self._scale = ClipZScored(scored, lower=percentiles[0], upper=percentiles[1]) if scored else None

    def resolve(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with an id and with every file it will be computed from; reads nothing but a header."""
        item = super().resolve(data)
        return item if self.with_label else {key: value for key, value in item.items() if key != "label"}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Prepare one item."""
        item = self._opened(data)
        for transform in self._load:
            item = transform(item)
        meta = self._meta(item, item[self.modalities[0]].meta["filename_or_obj"])
        labelled = self.with_label and "label" in item
        drawn = {"filename_or_obj": item["label"].meta["filename_or_obj"]} if labelled else {}
        for name in self.modalities:
            item[name] = self._resample(item[name])
        if self.with_label:
            item = self._label_back(item)
        item = self._scale(item) if self._scale else item
        for name, scale in self.scales.items():
            item[name] = scale(item[name])
        if self.modalities != ("image",):
            item = dict(ConcatItemsd(self.modalities, "image")(item))
        affine = item["image"].affine
        item["image"] = placed(item["image"].to(torch.float32), affine, meta)
        if labelled:
            item["label"] = placed(item["label"].to(torch.uint8), affine, meta | drawn)
        return {key: value for key, value in item.items() if key == "image" or key not in self.modalities}

    def _resample(self, image: MetaTensor) -> MetaTensor:
        """A volume in RAS at ``self.spacing``."""
        if self.spacing is None or np.allclose(image.pixdim, self.spacing, atol=1e-3):
            return image
        resampled: Any = Spacing(self.spacing, mode="bilinear", padding_mode="border", dtype=np.float32)(image)
        return placed(resampled, resampled.affine, image.meta)
