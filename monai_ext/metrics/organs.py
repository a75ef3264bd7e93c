"""Dice and normalized surface Dice of every organ, and of the patient as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from monai_ext.metrics.bridge import CaseBridge, CaseTable, pred_and_label
from monai_ext.metrics.surface_dice import surface_dice

__all__ = ["OrganMetrics", "class_dice"]


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


def class_surface_dice(
    pred: Tensor, truth: Tensor, spacing: Sequence[float], num_classes: int, tolerance: float = 3.0
) -> Tensor:
    """Normalized surface Dice of every class of one label map, each within its own box.

    Args:
        pred: class indices ``[X, Y, Z]``.
        truth: as ``pred``.
        spacing: mm per voxel along each axis.
        num_classes: with the background, class 0.
        tolerance: mm, see :func:`surface_dice`.

    Returns:
        fp32 ``[num_classes - 1]``; NaN for a class that is not in the truth.
    """
    values = torch.full((num_classes - 1,), torch.nan, device=pred.device)
    present = torch.bincount(truth.flatten().long(), minlength=num_classes) > 0
    for value in present[1:].nonzero()[:, 0].tolist():
        masks = [volume == value + 1 for volume in (pred, truth)]
        box = _box(masks[0] | masks[1])
        values[value] = surface_dice(masks[0][box][None], masks[1][box][None], spacing, tolerance)[0]
    return values


def _box(mask: Tensor) -> tuple[slice, ...]:
    """The box ``[X, Y, Z]`` that a mask fills, with a voxel to spare."""
    spans = [mask.any(dim=tuple(i for i in range(3) if i != axis)).nonzero() for axis in range(3)]
    return tuple(slice(max(int(s.min()) - 1, 0), int(s.max()) + 2) for s in spans)


class OrganMetrics(CaseBridge):
    """Dice, and if asked for the normalized surface Dice, of every organ of every patient, for MONAI's evaluators.

    An organ that is not in a patient's truth (cut off, removed, or not labelled) does not count for that patient. The
    mean of a patient is that over the organs it has; "dice" and "nsd" are means over patients, as the paper has them.
    "dice_<organ>" and "nsd_<organ>" are means over the patients that have the organ.

    The mean Dice is reported under the attached name; the evaluator's ``state.metrics`` gets all the others too.
    Predictions and labels are class indices ``[B, 1, X, Y, Z]`` (or lists without B).

    Args:
        organs: names of the classes 1, 2, ...
        output_transform: takes ``(pred, label)`` from the engine's output, for example
            ``monai.handlers.from_engine(["pred", "label"])``.
        tolerance: mm, of the surface Dice; see :func:`surface_dice`.
        surface: False leaves the surface Dice out, which takes about a second for an organ.

    Raises:
        ValueError: when a mask is not a label map, or the label does not know its voxel size.

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
        output_transform: Callable = pred_and_label,
        tolerance: float = 3.0,
        surface: bool = True,
    ) -> None:
        kinds = ("dice", "nsd") if surface else ("dice",)

        def measure(pred: Tensor, truth: Tensor, spacing: list[float] | None) -> Tensor:
            if pred.shape != truth.shape or truth.ndim != 4 or len(truth) != 1:
                raise ValueError(f"need two label maps [1, X, Y, Z], got {tuple(pred.shape)} and {tuple(truth.shape)}")
            row = class_dice(pred, truth, len(organs) + 1)
            if not surface:
                return row[None]
            if spacing is None:
                raise ValueError("the surface Dice needs the voxel size, which is in a MetaTensor")
            return torch.cat([row, class_surface_dice(pred[0], truth[0], spacing, len(organs) + 1, tolerance)])[None]

        def columns(rows: Tensor, case: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
            parts = dict(zip(kinds, rows.split(len(organs), dim=1)))
            found = {kind: part.nanmean(1) for kind, part in parts.items()}
            for kind, part in parts.items():
                found |= {f"{kind}_{organ}": column for organ, column in zip(organs, part.unbind(1))}
            return {name: (value, case) for name, value in found.items()}

        super().__init__(CaseTable(measure, columns, len(kinds) * len(organs)), output_transform)
