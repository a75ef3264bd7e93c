"""A function of two masks as a measure of one case, class by class and in physical units."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from monai_ext.metrics.overlap import foreground

__all__ = ["PerCase"]


class PerCase:
    """Measure a case by ``function(pred, truth)`` or ``function(pred, truth, spacing)``; for :class:`CaseMetrics`.

    A function with an argument ``spacing`` gets the voxel size of the label in mm. Labels and predictions are
    ``[C, *spatial]``, class indices (C = 1) or one-hot with the background first.

    Args:
        function: takes bool masks ``[1, *spatial]`` and returns ``[1]``, NaN where it is not defined.
        num_classes: classes with the background. 2 takes everything that is not background as one; more give one value
            for each class but the background.
        **options: further arguments of the function.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import PerCase, dice, hausdorff95
        >>> label = torch.zeros(1, 8, 8, 8)
        >>> label[..., 2:6, 2:6, 2:6] = 1
        >>> pred = label.clone()
        >>> pred[..., 4:, :, :] = 0  # half of the lesion is found
        >>> PerCase(dice)(pred, label)  # 2 * 32 / (32 + 64)
        tensor([0.6667])
        >>> PerCase(hausdorff95)(pred, label, spacing=(2.0, 1.0, 1.0))  # two voxels of 2 mm
        tensor([4.])
    """

    def __init__(self, function: Callable[..., Tensor], num_classes: int = 2, **options: Any) -> None:
        self.function, self.num_classes, self.options = function, num_classes, options
        self.in_mm = "spacing" in inspect.signature(function).parameters

    def __call__(self, pred: Tensor, truth: Tensor, spacing: Sequence[float] | None = None) -> Tensor:
        """Values of the classes: ``[num_classes - 1]``.

        Raises:
            ValueError: when the function needs the spacing and there is none.
        """
        if self.in_mm and spacing is None:
            raise ValueError("the metric needs the spacing of the label, which has to be a MetaTensor")
        options = self.options | ({"spacing": spacing} if self.in_mm else {})
        pairs = zip(self._masks(pred), self._masks(truth))
        return torch.stack([self.function(p, t, **options)[0] for p, t in pairs])

    def _masks(self, mask: Tensor) -> Tensor:
        """``[C, *spatial]`` -> bool ``[num_classes - 1, 1, *spatial]``."""
        if self.num_classes == 2:
            return foreground(mask[None])[None]
        classes = mask[0] if len(mask) == 1 else mask.argmax(0)
        return torch.stack([classes == index for index in range(1, self.num_classes)])[:, None]
