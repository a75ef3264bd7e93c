"""Exchange boxes between the items of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

__all__ = ["CutMix"]


class CutMix:
    """Replace a box of an item by the same box of the item before it (CutMix, Yun et al., ICCV 2019).

    Of the strong augmentations it is the one from which segmentation without labels gains most (French et al.,
    Semi-supervised semantic segmentation needs strong, varied perturbations, BMVC 2020). As there, the box holds half
    of the voxels, its sides are drawn, and image and label change together. What is drawn follows from numbers that
    name the step, so a resumed run draws the same again.

    Args:
        share: of the items that get a box; a batch of one item stays as it is.
        size: share of the voxels that the box holds.

    Raises:
        ValueError: a share lies outside [0, 1], or ``size`` is 0.

    Example:
        >>> import torch
        >>> from monai_ext.transforms import CutMix
        >>> image = torch.tensor([1.0, 2.0])[:, None, None, None].expand(2, 1, 8, 8)
        >>> mixed, label = CutMix(share=1.0)(image, image, numbers=(0, 0, 1))
        >>> round(float((mixed[0] == 2).float().mean()), 1), bool((mixed == label).all())
        (0.5, True)
    """

    def __init__(self, share: float = 0.5, size: float = 0.5) -> None:
        if not 0 <= share <= 1 or not 0 < size <= 1:
            raise ValueError(f"shares lie between 0 and 1, got {share} and {size}")
        self.share, self.size = share, size

    def __call__(self, image: Tensor, label: Tensor, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Mix a batch.

        Args:
            image: ``[B, C, *spatial]``.
            label: ``[B, 1, *spatial]``.
            numbers: name the step, for example (seed, rank, iteration).

        Returns:
            New tensors, as the two.
        """
        rng = np.random.default_rng([*numbers, len("cutmix")])  # not the draws of another change of this step
        mixed, its = image.clone(), label.clone()
        for row in np.flatnonzero(rng.random(len(image)) < self.share).tolist():
            box = (row, slice(None), *self._box(rng, image.shape[2:]))
            source = ((row - 1) % len(image), *box[1:])
            mixed[box], its[box] = image[source], label[source]
        return mixed, its

    def _box(self, rng: np.random.Generator, shape: Sequence[int]) -> list[slice]:
        """A box of ``size``: each side is the image's to the power of a share of the exponent; the shares sum to 1."""
        shares = rng.dirichlet(np.ones(len(shape)))
        sides = [max(1, round(n * self.size**share)) for n, share in zip(shape, shares)]
        starts = [int(rng.integers(n - side + 1)) for n, side in zip(shape, sides)]
        return [slice(start, start + side) for start, side in zip(starts, sides)]
