"""Images of any size for networks that halve them several times."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

__all__ = ["check_size", "crop_like", "pad_to_multiple", "padded_size"]


def padded_size(size: Sequence[int], multiple: int) -> tuple[int, ...]:
    """The smallest size that is a multiple along each axis and not smaller."""
    return tuple(side + -side % multiple for side in size)


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column of ``[B, C, H, W]`` up to its `padded_size`; :func:`crop_like` undoes it."""
    height, width = image.shape[2:]
    return F.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def crop_like(padded: Tensor, image: Tensor) -> Tensor:
    """Crop ``padded`` ``[B, C', H', W']`` to the pixels of ``image`` ``[B, C, H, W]`` before its padding."""
    return padded[..., : image.shape[2], : image.shape[3]]


def check_size(image: Tensor, expected: Sequence[int]) -> None:
    """Refuse an image ``[B, C, *spatial]`` of another size than the network was built for.

    Raises:
        ValueError: when the sizes differ.
    """
    if tuple(image.shape[2:]) != tuple(expected):
        raise ValueError(f"the network was built for img_size {tuple(expected)}, got an image {tuple(image.shape)}")
