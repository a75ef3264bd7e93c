"""Images as rows of patches, in 2-D and 3-D."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

__all__ = ["mask_to_image", "patch_grid", "patchify", "unpatchify"]


def patch_grid(img_size: Sequence[int], patch_size: Sequence[int]) -> tuple[int, ...]:
    """Number of patches along each axis.

    Raises:
        ValueError: when an axis is not a whole number of patches long.
    """
    if len(img_size) != len(patch_size) or any(s % p for s, p in zip(img_size, patch_size)):
        raise ValueError(f"image size {tuple(img_size)} is not a whole number of patches of {tuple(patch_size)}")
    return tuple(s // p for s, p in zip(img_size, patch_size))


def patchify(image: Tensor, patch_size: Sequence[int]) -> Tensor:
    """Cut an image into patches.

    Args:
        image: ``[B, C, *spatial]``.
        patch_size: pixels of a patch along each axis.

    Returns:
        ``[B, N, P * C]``: N patches in row-major order of the grid; inside a patch the channel varies fastest, the
        layout of the MAE literature.
    """
    grid = patch_grid(image.shape[2:], patch_size)
    dims = len(grid)
    split = [n for pair in zip(grid, patch_size) for n in pair]
    x = image.reshape(image.shape[0], image.shape[1], *split)
    order = [0, *range(2, 2 + 2 * dims, 2), *range(3, 3 + 2 * dims, 2), 1]
    return x.permute(order).reshape(image.shape[0], math.prod(grid), -1)


def unpatchify(patches: Tensor, patch_size: Sequence[int], img_size: Sequence[int]) -> Tensor:
    """Inverse of :func:`patchify`: ``[B, N, P * C]`` -> ``[B, C, *img_size]``."""
    grid = patch_grid(img_size, patch_size)
    dims = len(grid)
    x = patches.reshape(patches.shape[0], *grid, *patch_size, -1)
    order = [
        0,
        1 + 2 * dims,
        *(axis for pair in zip(range(1, 1 + dims), range(1 + dims, 1 + 2 * dims)) for axis in pair),
    ]
    return x.permute(order).reshape(patches.shape[0], -1, *img_size)


def mask_to_image(mask: Tensor, img_size: Sequence[int], patch_size: Sequence[int]) -> Tensor:
    """A patch mask ``[B, N]`` (bool, True = masked) as ``[B, 1, *img_size]`` bool, constant over each patch."""
    grid = patch_grid(img_size, patch_size)
    coarse = mask.reshape(mask.shape[0], 1, *grid)
    return F.interpolate(coarse.float(), size=tuple(img_size), mode="nearest").bool()
