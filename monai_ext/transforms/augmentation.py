"""Augmentation of 3-D crops and 2-D slices as nnU-Net does it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from monai.transforms import (
    Compose,
    EnsureTyped,
    Rand3DElasticd,
    RandAdjustContrastd,
    RandAffined,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandScaleIntensityd,
    RandScaleIntensityFixedMeand,
    RandSimulateLowResolutiond,
)

from monai_ext.transforms.batch_augmentation import check_geometry
from monai_ext.transforms.deformation import RandDeformd

__all__ = ["SegmentationAugmentation"]


class SegmentationAugmentation(Compose):
    """nnU-Net's augmentation (Isensee et al. 2021, supplement 4) by MONAI's transforms, for items of tensors.

    In this order, with nnU-Net's probabilities and ranges: rotation about all axes and scaling; Gaussian noise;
    Gaussian blur; brightness; contrast; simulated low resolution; gamma on the inverted and on the plain image;
    mirroring. The image is interpolated linearly and the label by nearest neighbour. The label is 0 outside the crop; a
    crop larger than ``size`` shows less of the outside.

    Two points differ from nnU-Net: rotation and scaling are applied together, to 36 % of the items, the share that gets
    at least one of them in nnU-Net; and each axis is scaled independently.

    Args:
        size: voxels of the result along each axis; None keeps the size of the crop.
        rotation: largest angle in degrees; 0 for none.
        scale: smallest and largest zoom; (1, 1) for none.
        flips: axes (0, 1, 2) to mirror along. Leave out the axis whose left and right differ.
        intensity: False changes only the geometry.
        elastic: True deforms a fifth of the items elastically, after rotation and scaling. The displacements are noise
            in [-1, 1], smoothed by 9 to 13 voxels and multiplied by up to 200, as in nnU-Net's first version; the
            second version has no elastic deformation.
        outside: values of the image outside the crop: ``"zeros"``, or ``"border"`` for images in which 0 is not air.
        image: key of the image ``[C, *spatial]``, any number of channels.
        label: key of the label ``[1, *spatial]``, which may be absent.
        spatial_dims: 3 for crops, 2 for slices. nnU-Net turns square slices by any angle: rotation 180.
        deform: deform a fifth of the items by splines instead, with amplitudes in this range of voxels, see
            :class:`RandDeformd`; None for none.

    Raises:
        ValueError: when ``scale`` is not an interval around 1, an axis of ``flips`` is not one of the item's, or
            ``elastic`` is given together with ``deform`` or for slices.
    """

    def __init__(
        self,
        size: Sequence[int] | None = None,
        rotation: float = 30.0,
        scale: tuple[float, float] = (0.7, 1.4),
        flips: Sequence[int] = (0, 1, 2),
        intensity: bool = True,
        elastic: bool = False,
        outside: str = "zeros",
        image: str = "image",
        label: str = "label",
        spatial_dims: int = 3,
        deform: tuple[float, float] | None = None,
    ) -> None:
        check_geometry(scale, flips, spatial_dims)
        if elastic and (deform is not None or spatial_dims == 2):
            raise ValueError("elastic is for 3-D crops, and in the place of deform: leave one of them out")
        both = (image, label)
        modes, around = ("bilinear", "nearest"), (outside, "zeros")
        # MONAI zooms out by a factor above 1: it scales the grid, and adds 1 to the drawn number.
        zoom = [(1 / scale[1] - 1, 1 / scale[0] - 1)] * spatial_dims
        # In a plane there is one angle; for a pair MONAI takes the first number alone.
        angles = [(-math.radians(rotation), math.radians(rotation))] * (3 if spatial_dims == 3 else 1)
        changes: dict[str, Any] = {}
        if rotation:
            changes["rotate_range"] = angles
        if scale[0] < scale[1]:
            changes["scale_range"] = zoom
        probability = 1 - 0.8 ** len(changes)
        options: dict[str, Any] = {"mode": modes, "padding_mode": around, "allow_missing_keys": True}
        affine = RandAffined(both, size, probability, **changes, **options)
        bend: list[Any] = []
        if elastic:
            bend = [Rand3DElasticd(both, sigma_range=(9, 13), magnitude_range=(0, 200), prob=0.2, **options)]
        elif deform is not None:
            bend = [RandDeformd(both, prob=0.2, amplitude=deform, **options)]
        linear = "trilinear" if spatial_dims == 3 else "bilinear"
        colour = [
            RandGaussianNoised(image, prob=0.1, std=math.sqrt(0.1)),
            RandGaussianSmoothd(image, (0.5, 1.0), (0.5, 1.0), (0.5, 1.0), prob=0.2),
            RandScaleIntensityd(image, factors=(-0.25, 0.25), prob=0.15, channel_wise=True),
            RandScaleIntensityFixedMeand(image, factors=(-0.25, 0.25), preserve_range=True, prob=0.15),
            RandSimulateLowResolutiond(image, prob=0.25, zoom_range=(0.5, 1.0), upsample_mode=linear),
            RandAdjustContrastd(image, prob=0.1, gamma=(0.7, 1.5), invert_image=True, retain_stats=True),
            RandAdjustContrastd(image, prob=0.3, gamma=(0.7, 1.5), retain_stats=True),
        ]
        mirrors = [RandFlipd(both, 0.5, axis, allow_missing_keys=True) for axis in flips]
        plain = [
            EnsureTyped(image, dtype=torch.float32, track_meta=False),
            EnsureTyped(label, dtype=torch.uint8, track_meta=False, allow_missing_keys=True),
        ]
        super().__init__([affine, *bend, *(colour if intensity else []), *mirrors, *plain])
