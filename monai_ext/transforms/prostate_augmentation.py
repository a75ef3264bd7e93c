"""Augmentation of prostate volumes whose last channels are anomaly maps."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.transforms import (
    Compose,
    EnsureTyped,
    RandAdjustContrastd,
    RandAffined,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    Randomizable,
    RandScaleIntensityd,
    Transform,
)

from monai_ext.transforms.study import MODALITIES

__all__ = ["ProstateAugmentation"]


class ProstateAugmentation(Randomizable, Transform):
    """Geometry for all channels, intensities for the images alone (nnU-Net's kinds and probabilities).

    In the plane of the slices, which are much thicker than their pixels: rotation, zoom, shift, and mirroring left to
    right. Intensities of an anomaly map are never changed, because their magnitude is their meaning.

    Args:
        rotation: largest angle in degrees.
        zoom: largest relative change of size.
        shift: largest shift in voxels, in the plane.
        intensity: False changes only the geometry.
        image: key of the image ``[C, X, Y, Z]``.
        label: key of the label ``[1, X, Y, Z]``, which may be absent.
    """

    def __init__(
        self,
        rotation: float = 15.0,
        zoom: float = 0.2,
        shift: float = 6.0,
        intensity: bool = True,
        image: str = "image",
        label: str = "label",
    ) -> None:
        super().__init__()
        self.image, self.intensity = image, intensity
        both = (image, label)
        self.geometry = Compose(
            [
                RandAffined(
                    both,
                    prob=0.36,
                    rotate_range=(0.0, 0.0, math.radians(rotation)),
                    scale_range=(zoom, zoom, 0.0),
                    translate_range=(shift, shift, 0.0),
                    mode=("bilinear", "nearest"),
                    padding_mode="zeros",
                    allow_missing_keys=True,
                ),
                RandFlipd(both, 0.5, 0, allow_missing_keys=True),
                EnsureTyped(image, dtype=torch.float32, track_meta=False),
                EnsureTyped(label, dtype=torch.uint8, track_meta=False, allow_missing_keys=True),
            ]
        )
        self.colour = Compose(
            [
                RandGaussianNoised(image, prob=0.1, std=0.3),
                RandGaussianSmoothd(image, (0.5, 1.0), (0.5, 1.0), (0.0, 0.0), prob=0.2),
                RandScaleIntensityd(image, factors=(-0.25, 0.25), prob=0.15, channel_wise=True),
                RandAdjustContrastd(image, prob=0.3, gamma=(0.7, 1.5), retain_stats=True),
            ]
        )

    def set_random_state(self, seed: int | None = None, state: Any = None) -> ProstateAugmentation:
        """Seed both parts."""
        super().set_random_state(seed, state)
        for part in (self.geometry, self.colour):
            part.set_random_state(seed=int(self.R.randint(2**31)))
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Augment one item."""
        item: dict[Hashable, Any] = dict(self.geometry(dict(data)))  # type: ignore[arg-type]
        if self.intensity:
            images, maps = item[self.image][: len(MODALITIES)], item[self.image][len(MODALITIES) :]
            changed: Any = self.colour({self.image: images})
            item[self.image] = torch.cat([torch.as_tensor(changed[self.image]), maps])
        return item
