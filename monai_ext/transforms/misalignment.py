"""Move one modality against the others, like breathing and movements between two acquisitions."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.transforms import Affine, Randomizable, Transform

__all__ = ["RandMisalignd"]


class RandMisalignd(Randomizable, Transform):
    """Shift and rotate one channel of an image; the other channels and the label do not move.

    For PET/CT the CT is moved, because lesions are drawn on the PET (misalignment augmentation, Kovacs et al., autoPET
    III, 2024). Each shift and each angle is uniform within its limit. Voxels from outside repeat the border.

    Args:
        channel: index of the channel that is moved; 0 is the CT.
        prob: share of the items.
        shift: largest shift along X, Y, Z, in voxels.
        rotation: largest angle about each axis, in degrees.
        image: key of the image ``[C, X, Y, Z]``.
    """

    def __init__(
        self,
        channel: int = 0,
        prob: float = 0.5,
        shift: Sequence[float] = (2.0, 2.0, 2.0),
        rotation: float = 2.0,
        image: str = "image",
    ) -> None:
        self.channel, self.prob, self.image = channel, prob, image
        self.shift, self.rotation = tuple(shift), math.radians(rotation)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Misalign one item."""
        item = dict(data)
        if self.R.random() >= self.prob:
            return item
        shifts = [self.R.uniform(-limit, limit) for limit in self.shift]
        angles = [self.R.uniform(-self.rotation, self.rotation) for _ in range(3)]
        image = item[self.image].clone()
        move = Affine(
            angles, None, shifts, mode="bilinear", padding_mode="border", image_only=True, device=image.device
        )
        moved = move(torch.as_tensor(image[self.channel : self.channel + 1]))
        image[self.channel : self.channel + 1] = torch.as_tensor(moved).to(image.dtype)
        item[self.image] = image
        return item
