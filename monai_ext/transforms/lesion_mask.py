"""From the class scores of a network to the lesion mask on the grid of the scan."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.transforms import Transform
from torch import Tensor

from monai_ext.transforms.grid import remembered_grid, restored
from monai_ext.transforms.resample import interpolate_onto

__all__ = ["LesionMaskd"]


class LesionMaskd(Transform):
    """Lesion probability and mask on the grid that :class:`RememberGridd` kept, the scan's own.

    The probability is interpolated before it is compared with the threshold, so that outlines are smooth. For
    decollated items. Memory: two volumes of the scan's grid beside the scores.

    Args:
        pred: key of the class scores (logits or log-probabilities) ``[2, X, Y, Z]``, which the mask replaces: uint8
            ``[1, *scan]`` in {0, 1}.
        probability: key that takes the probability, float32 ``[1, *scan]``.
        grid: key of the network's input; its affine places the scores.
        threshold: a probability above this is lesion.

    Raises:
        ValueError: the scores are not of two classes on the grid of ``grid``, or the item has no remembered grid.
    """

    def __init__(
        self,
        pred: str = "pred",
        probability: str = "lesion_probability",
        grid: str = "image",
        threshold: float = 0.5,
    ) -> None:
        self.pred, self.probability, self.grid, self.threshold = pred, probability, grid, threshold

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Postprocess one item."""
        item = dict(data)
        affine, shape = remembered_grid(item)
        scores, grid = item[self.pred], item[self.grid]
        if scores.shape != (2, *grid.shape[1:]):
            raise ValueError(f"{self.pred} has shape {tuple(scores.shape)}, {self.grid} {tuple(grid.shape)}")
        lesion = scores.as_subclass(Tensor).detach().float().cpu()
        found = interpolate_onto((lesion[1] - lesion[0]).sigmoid(), grid.affine, affine, shape)[None]
        item[self.probability] = restored(found, item, grid)
        item[self.pred] = restored((found > self.threshold).to(torch.uint8), item, grid)
        return item
