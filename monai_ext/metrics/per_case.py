"""Any metric of two masks as a metric of MONAI's evaluators, case by case and in physical units."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from monai.data import MetaTensor
from monai.metrics import CumulativeIterationMetric
from torch import Tensor

from monai_ext.metrics.overlap import foreground

__all__ = ["PerCase"]


class PerCase(CumulativeIterationMetric):
    """Accumulate ``function(pred, truth)`` or ``function(pred, truth, spacing)`` of every case.

    For example ``monai.handlers.IgniteMetricHandler(metric_fn=PerCase(hausdorff95), ...)``. A function with an argument
    ``spacing`` gets the voxel size of the label in mm, which must then be a ``MetaTensor``. Labels and predictions are
    ``[B, C, *spatial]`` or lists without B, class indices (C = 1) or one-hot with the background first.

    Args:
        function: takes bool masks ``[1, *spatial]`` and returns ``[1]``, NaN where it is not defined.
        num_classes: classes with the background. 2 takes everything that is not background as one; more give one value
            for each class but the background.
        **options: further arguments of the function.

    Example:
        >>> import torch
        >>> from monai.data import MetaTensor
        >>> from monai_ext.metrics import PerCase, dice, hausdorff95
        >>> label = torch.zeros(1, 1, 8, 8, 8)
        >>> label[..., 2:6, 2:6, 2:6] = 1
        >>> pred = label.clone()
        >>> pred[..., 4:, :, :] = 0  # half of the lesion is found
        >>> metric = PerCase(dice)
        >>> _ = metric(pred, label)
        >>> metric.aggregate()  # 2 * 32 / (32 + 64)
        tensor(0.6667)
        >>> metric = PerCase(hausdorff95)
        >>> _ = metric(pred, MetaTensor(label, affine=torch.diag(torch.tensor([2.0, 1.0, 1.0, 1.0]))))
        >>> metric.aggregate()  # two voxels of 2 mm
        tensor(4.)
    """

    def __init__(self, function: Callable[..., Tensor], num_classes: int = 2, **options: Any) -> None:
        super().__init__()
        self.function = function
        self.options = options
        self.num_classes = num_classes
        self.in_mm = "spacing" in inspect.signature(function).parameters

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **_: Any) -> Tensor:
        """Values of the cases: ``[B, num_classes - 1]``.

        Raises:
            ValueError: when the function needs the spacing and the label does not have it, or without a label.
        """
        if y is None:
            raise ValueError("PerCase needs a label")
        if self.in_mm and not isinstance(y, MetaTensor):
            raise ValueError(f"the label is a {type(y).__name__}; the spacing that the metric needs is in a MetaTensor")
        rows = []
        for case in range(len(y)):
            options = dict(self.options)
            if self.in_mm:
                pixdim = y.pixdim[case] if y.is_batch else y.pixdim  # type: ignore[attr-defined]
                options["spacing"] = [float(mm) for mm in pixdim]
            pred, truth = (self._masks(mask[case].as_subclass(Tensor)) for mask in (y_pred, y.to(y_pred.device)))
            rows.append(torch.stack([self.function(p, t, **options)[0] for p, t in zip(pred, truth)]))
        return torch.stack(rows)

    def _masks(self, mask: Tensor) -> Tensor:
        """``[C, *spatial]`` -> bool ``[num_classes - 1, 1, *spatial]``."""
        if self.num_classes == 2:
            return foreground(mask[None])[None]
        classes = mask[0] if len(mask) == 1 else mask.argmax(0)
        return torch.stack([classes == index for index in range(1, self.num_classes)])[:, None]

    def values(self) -> Tensor:
        """``[cases, num_classes - 1]`` so far, NaN where not defined; for `summarize` and `MetricTable`."""
        buffer = self.get_buffer()
        return torch.zeros(0, self.num_classes - 1) if buffer is None else buffer

    def aggregate(self) -> Tensor:
        """Mean over the cases where it is defined, then over the classes: a scalar."""
        return self.values().nanmean(0).nanmean()
