"""Dice and normalized surface Dice of every organ, and of the patient as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.handlers import IgniteMetricHandler
from monai.metrics import CumulativeIterationMetric
from torch import Tensor

from monai_ext.metrics.summary import Summary, summarize
from monai_ext.metrics.surface_dice import surface_dice

__all__ = ["OrganMetric", "OrganMetrics", "class_dice"]


def class_dice(pred: Tensor, truth: Tensor, num_classes: int) -> Tensor:
    """Dice of every class of one label map, in one pass over the voxels.

    Args:
        pred: class indices, any shape.
        truth: as ``pred``.
        num_classes: with the background, class 0.

    Returns:
        fp32 ``[num_classes - 1]``; NaN for a class that is not in the truth.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import class_dice
        >>> class_dice(torch.tensor([0, 1, 1, 2]), torch.tensor([0, 0, 1, 2]), num_classes=4)  # 2 / 3, 1, absent
        tensor([0.6667, 1.0000,    nan])
    """
    pred, truth = pred.flatten().long(), truth.flatten().long()
    predicted, present = (torch.bincount(x, minlength=num_classes) for x in (pred, truth))
    shared = torch.bincount(truth[pred == truth], minlength=num_classes)
    dice = 2 * shared / (predicted + present)
    return torch.where(present > 0, dice, torch.nan)[1:].float()


class OrganMetric(CumulativeIterationMetric):
    """Accumulate the Dice, and if asked for the normalized surface Dice, of every organ of every patient.

    An organ that is not in a patient's truth (cut off, removed, or not labelled) does not count for that patient. The
    mean of a patient is that over the organs it has; "dice" and "nsd" are means over patients, as the paper has them.
    "dice_<organ>" and "nsd_<organ>" are means over the patients that have the organ.

    Call it with ``y_pred`` and ``y`` ``[B, 1, X, Y, Z]`` (or lists without B): class indices.

    Args:
        organs: names of the classes 1, 2, ...
        tolerance: mm, of the surface Dice; see :func:`surface_dice`.
        surface: False leaves the surface Dice out, which takes about a second for an organ.

    Raises:
        ValueError: when a mask is not a label map, or the label does not know its voxel size.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import OrganMetric
        >>> label = torch.zeros(1, 1, 4, 4, 4)
        >>> label[..., :2, :, :], label[..., 2:, :, :] = 1, 2
        >>> pred = label.clone()
        >>> pred[..., :1, :, :] = 2
        >>> metric = OrganMetric(["liver", "spleen"], surface=False)
        >>> _ = metric(pred, label)
        >>> {name: round(value, 3) for name, value in metric.results().items()}  # 2 / 3 and 4 / 5
        {'dice': 0.733, 'dice_liver': 0.667, 'dice_spleen': 0.8}
    """

    def __init__(self, organs: Sequence[str], tolerance: float = 3.0, surface: bool = True) -> None:
        super().__init__()
        self.organs, self.tolerance, self.surface = tuple(organs), tolerance, surface

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **_: Any) -> Tensor:
        """``[B, organs]`` of Dice, and behind it as many of surface Dice."""
        if y is None or y_pred.shape != y.shape or y.ndim != 5 or y.shape[1] != 1:
            shapes = [None if mask is None else tuple(mask.shape) for mask in (y_pred, y)]
            raise ValueError(f"two label maps [B, 1, X, Y, Z] are due, got {shapes[0]} and {shapes[1]}")
        if self.surface and not isinstance(y, MetaTensor):
            raise ValueError("the surface Dice needs the voxel size, which is in a MetaTensor")
        rows = []
        for case in range(len(y)):
            pred, truth = y_pred[case, 0].as_subclass(Tensor), y[case, 0].as_subclass(Tensor).to(y_pred.device)
            row = class_dice(pred, truth, len(self.organs) + 1)
            if self.surface:
                pixdim: Any = y.pixdim[case] if y.is_batch else y.pixdim  # type: ignore[attr-defined]
                spacing = [float(mm) for mm in pixdim]
                row = torch.cat([row, self._surface(pred, truth, spacing, row)])
            rows.append(row)
        return torch.stack(rows)

    def _surface(self, pred: Tensor, truth: Tensor, spacing: Sequence[float], dice: Tensor) -> Tensor:
        values = torch.full_like(dice, torch.nan)
        for i in (~dice.isnan()).nonzero()[:, 0].tolist():
            masks = [volume == i + 1 for volume in (pred, truth)]
            box = _box(masks[0] | masks[1])
            values[i] = surface_dice(masks[0][box][None], masks[1][box][None], spacing, self.tolerance)[0]
        return values

    def values(self) -> dict[str, Tensor]:
        """Every value behind the means by name, one per patient, NaN = left out."""
        buffer = self.get_buffer()
        kinds = ("dice", "nsd") if self.surface else ("dice",)
        rows = torch.zeros(0, len(kinds) * len(self.organs)) if buffer is None else buffer
        parts = dict(zip(kinds, rows.split(len(self.organs), dim=1)))
        found = {kind: part.nanmean(1) for kind, part in parts.items()}
        for kind, part in parts.items():
            found |= {f"{kind}_{organ}": column for organ, column in zip(self.organs, part.unbind(1))}
        return found

    def results(self) -> dict[str, float]:
        """The means."""
        return {name: value.nanmean().item() for name, value in self.values().items()}

    def summary(self, **options: Any) -> dict[str, Summary]:
        """Each mean with n and a confidence interval over patients; ``options`` go to `summarize`."""
        return {name: summarize(value, **options) for name, value in self.values().items()}

    def aggregate(self) -> Tensor:
        """Mean Dice: over the organs of a patient, then over patients."""
        return self.values()["dice"].nanmean()


def _box(mask: Tensor) -> tuple[slice, ...]:
    """The box ``[X, Y, Z]`` that a mask fills, with a voxel to spare."""
    spans = [mask.any(dim=tuple(i for i in range(3) if i != axis)).nonzero() for axis in range(3)]
    return tuple(slice(max(int(s.min()) - 1, 0), int(s.max()) + 2) for s in spans)


class OrganMetrics(IgniteMetricHandler):
    """:class:`OrganMetric` for MONAI's evaluators.

    The mean Dice stands under the name it is attached with; the evaluator's ``state.metrics`` gets all the others too.

    Args:
        organs: see :class:`OrganMetric`.
        output_transform: takes ``(pred, label)`` from the engine's output, for example
            ``monai.handlers.from_engine(["pred", "label"])``.
        tolerance: see :class:`OrganMetric`.
        surface: see :class:`OrganMetric`.

    Example:
        >>> import torch
        >>> from ignite.engine import Engine
        >>> from monai_ext.metrics import OrganMetrics
        >>> label = torch.zeros(1, 1, 4, 4, 4)
        >>> label[..., :2, :, :], label[..., 2:, :, :] = 1, 2
        >>> evaluator = Engine(lambda engine, batch: (label, label))
        >>> OrganMetrics(["liver", "spleen"], surface=False).attach(evaluator, "mean_dice")
        >>> evaluator.run([0]).metrics
        {'mean_dice': 1.0, 'dice': 1.0, 'dice_liver': 1.0, 'dice_spleen': 1.0}
    """

    def __init__(
        self,
        organs: Sequence[str],
        output_transform: Callable = lambda x: x,
        tolerance: float = 3.0,
        surface: bool = True,
    ) -> None:
        self.metric = OrganMetric(organs, tolerance, surface)
        super().__init__(metric_fn=self.metric, output_transform=output_transform)

    def completed(self, engine: Engine, name: str) -> None:
        """Write the key value under ``name`` and the other results beside it."""
        super().completed(engine, name)
        engine.state.metrics.update({k: v for k, v in self.metric.results().items() if k != name})
