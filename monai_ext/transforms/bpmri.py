"""From the scans of one bpMRI study to the three-channel volume around the gland that the networks see."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.transforms import ConcatItemsd, Resized, Transform
from torch import Tensor

from monai_ext.transforms.gland import CropToGlandd, GlandPredictor
from monai_ext.transforms.intensity import ClipZScored, ScaleADCd
from monai_ext.transforms.resample import placed
from monai_ext.transforms.study import MODALITIES, OPTIONAL, LoadStudy

__all__ = ["BpMRIPreprocessing"]


class BpMRIPreprocessing(LoadStudy):
    """All that is deterministic between the files of a study and the network (prostate MAE, A.1).

    Names sibling files; loads, checks and orients them (RAS); computes high-b and ADC from b = 50 and 1000 where they
    are not given; resamples ADC, high-b, gland and label onto T2W; resizes to ``resample_size``; normalizes (T2W and
    high-b by z-score, ADC as a quantity); crops to the gland and resizes to ``img_size``; stacks T2W, ADC, high-b.

    An item names ``t2w``, ``adc``, ``hbv`` (or ``dwi_b50`` and ``dwi_b1000``), and optionally ``gland``, ``label`` and
    ``id``; files beside T2W that are named alike need not be named (:class:`SiblingModalitiesd`). An item with only
    ``image`` (and ``label``) works too: T2W, or one 4-D file of the three.

    The result has

    - ``image`` float32 ``[3, *img_size]`` with the affine of the crop,
    - ``label`` uint8 ``[1, *img_size]`` in {0, 1}, if the item has one,
    - ``id`` (the first file's name if the item has none),
    - ``original_affine`` and ``original_shape``, T2W's own grid, for :class:`RestoreToReferenced`,

    and what else was in the item, except the volumes that went into these.

    Args:
        img_size: voxels of the result.
        resample_size: voxels of the resized T2W grid, on which ``padding`` counts.
        padding: in-plane context round the gland, in voxels.
        gland_network: finds the gland where an item has no mask: T2W ``[1, X, Y, Z]``, normalized, -> mask.
        gland_weights: weights of the :class:`GlandPredictor` to use where no ``gland_network`` is given; with neither,
            every item needs a mask.
        with_label: False leaves a label alone (inference).
        label_values: what a label file may hold; PI-CAI's hold ISUP grades.
        lesion_from: label values from this one on are lesion (2 for clinically significant cancer by ISUP grade).
        repair: set NaN voxels to 0 with a warning instead of refusing the volume.

    Raises:
        DataError: any input that cannot be used; names the case, the file and the remedy.
    """

    VERSION = 3  # 3: the arguments are printed in the order of the constructor

    def __init__(
        self,
        img_size: Sequence[int] = (88, 88, 64),
        resample_size: Sequence[int] = (192, 192, 64),
        padding: int = 8,
        gland_network: Callable[[Tensor], Tensor] | None = None,
        gland_weights: str | Path | None = None,
        with_label: bool = True,
        label_values: Sequence[int] = (0, 1, 2, 3, 4, 5),
        lesion_from: int = 1,
        repair: bool = False,
    ) -> None:
        super().__init__(with_label, label_values, repair)
        self.img_size, self.resample_size = tuple(img_size), tuple(resample_size)
        if gland_network is None and gland_weights is not None:
            gland_network = GlandPredictor(gland_weights)
        self.gland_network = self.gland_weights = gland_network
        self.padding, self.lesion_from = padding, lesion_from
        labels = ("label",) if with_label else ()
        masks = ("gland", *labels)
        modes = ("trilinear",) * len(MODALITIES) + ("nearest-exact",) * len(masks)
        self._prepare: tuple[Transform, ...] = (
            Resized((*MODALITIES, *masks), self.resample_size, mode=modes, allow_missing_keys=True),
            ClipZScored(("t2w", "hbv")),
            ScaleADCd("adc"),
            CropToGlandd(MODALITIES, labels, padding=padding, size=self.img_size, network=gland_network),
            ConcatItemsd(MODALITIES, "image"),
        )

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Prepare one item."""
        item = super().__call__(data)
        meta = self._meta(item, item["t2w"].meta["filename_or_obj"])
        for transform in self._prepare:
            item = transform(item)
        image = item["image"]
        item["image"] = placed(image, image.affine, meta)
        if self.with_label and "label" in item:
            item["label"] = placed((item["label"] >= self.lesion_from).to(torch.uint8), image.affine, meta)
        return {key: value for key, value in item.items() if key not in (*MODALITIES, *OPTIONAL)}
