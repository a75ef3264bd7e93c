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
    """The deterministic preprocessing from the files of a study to the input of the network (prostate MAE, A.1).

    It finds sibling files; loads, checks and orients them (RAS); computes missing high-b and ADC from b = 50 and 1000;
    resamples ADC, high-b, gland and label onto T2W; resizes to ``resample_size``; normalizes (T2W and high-b by
    z-score, ADC as a quantity); crops to the gland and resizes to ``img_size``; stacks T2W, ADC, high-b.

    An item names ``t2w``, ``adc``, ``hbv`` (or ``dwi_b50`` and ``dwi_b1000``), and optionally ``gland``, ``label`` and
    ``id``; files beside T2W that are named alike need not be named (:class:`SiblingModalitiesd`). An item with only
    ``image`` (and ``label``) works too: T2W, or one 4-D file of the three.

    The result has

    - ``image`` float32 ``[3, *img_size]`` with the affine of the crop,
    - ``label`` uint8 ``[1, *img_size]`` in {0, 1}, if the item has one,
    - ``id`` (the first file's name if the item has none),
    - ``original_affine`` and ``original_shape``, T2W's own grid, for :class:`RestoreToReferenced`,

    and all other values of the item, except the volumes that these were made from.

    Args:
        img_size: voxels of the result.
        resample_size: voxels of the resized T2W grid, on which ``padding`` counts.
        padding: in-plane context around the gland, in voxels.
        gland_network: network that finds the gland of an item without a mask: normalized T2W ``[1, X, Y, Z]`` -> mask.
        gland_weights: weights of the :class:`GlandPredictor` that is used without a ``gland_network``; without both,
            every item needs a mask.
        with_label: False ignores the label (inference).
        label_values: values that a label file may hold; those of PI-CAI are ISUP grades.
        lesion_from: smallest label value that counts as lesion (2 for clinically significant cancer by ISUP grade).
        repair: True sets NaN voxels to 0 with a warning instead of refusing the volume.
        limits: limits of the scan in place of the class's, by name: ``{"extent": [10, 900]}``, see :class:`Limits`.

    Raises:
        DataError: an input cannot be used; the error names the case, the file and the remedy.
    """

    VERSION = 4  # 4: the label names its own file

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
        limits: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        super().__init__(with_label, label_values, repair, limits)
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
        labelled = self.with_label and "label" in item
        drawn = {"filename_or_obj": item["label"].meta["filename_or_obj"]} if labelled else {}
        for transform in self._prepare:
            item = transform(item)
        image = item["image"]
        item["image"] = placed(image, image.affine, meta)
        if labelled:
            item["label"] = placed((item["label"] >= self.lesion_from).to(torch.uint8), image.affine, meta | drawn)
        return {key: value for key, value in item.items() if key not in (*MODALITIES, *OPTIONAL)}
