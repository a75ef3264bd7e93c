"""Several metrics of every case in one pass, with n and confidence interval each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from monai_ext.metrics.boundary_iou import boundary_distance, boundary_iou
from monai_ext.metrics.bridge import CaseBridge, CaseTable, pred_and_label
from monai_ext.metrics.hausdorff import hausdorff95
from monai_ext.metrics.overlap import dice
from monai_ext.metrics.per_case import PerCase
from monai_ext.metrics.sensitivity import sensitivity

__all__ = ["CaseMetrics", "lesion_slice_dice", "scan_metrics", "slice_boundary_iou"]


def slice_boundary_iou(pred: Tensor, truth: Tensor) -> Tensor:
    """Boundary IoU of volumes ``[B, X, Y, Z]``, the rim taken slice by slice: 2 % of a slice's diagonal in pixels."""
    width = boundary_distance(truth.shape[1:3])
    return boundary_iou(pred, truth, (width, width, 0), only_lesions=True)


def lesion_slice_dice(pred: Tensor, truth: Tensor) -> Tensor:
    """Dice of volumes ``[B, X, Y, Z]`` over the slices with lesion alone: false positives elsewhere do not count."""
    shown = truth.bool().flatten(1, 2).any(1)[:, None, None]
    return dice(pred.bool() & shown, truth, only_lesions=True)


def scan_metrics() -> dict[str, PerCase]:
    """The metrics of AMLP, 4.6, per 3-D scan.

    ``dice``, ``sensitivity``, ``boundary_iou`` (per slice) and ``hausdorff95_mm`` are those of scans with lesion; the
    Hausdorff distance is undefined, and left out, where nothing is predicted. ``hausdorff95_penalized_mm`` counts such
    a scan with the diagonal of the volume, ``dice_all_scans`` counts scans without lesion too: 1 where nothing is
    predicted, else 0. ``dice_lesion_slices`` looks at slices with lesion only, as the paper, which keeps no others,
    seems to do.

    Example:
        >>> from monai_ext.metrics import scan_metrics
        >>> [name for name in scan_metrics() if name.startswith("dice")]
        ['dice', 'dice_all_scans', 'dice_lesion_slices']
    """
    return {
        "dice": PerCase(dice, only_lesions=True),
        "sensitivity": PerCase(sensitivity),
        "boundary_iou": PerCase(slice_boundary_iou),
        "hausdorff95_mm": PerCase(hausdorff95),
        "hausdorff95_penalized_mm": PerCase(hausdorff95, penalize_missing=True),
        "dice_all_scans": PerCase(dice),
        "dice_lesion_slices": PerCase(lesion_slice_dice),
    }


class CaseMetrics(CaseBridge):
    """Several :class:`PerCase` metrics for MONAI's evaluators.

    The mean of the first metric, over its classes if it has several, is reported under the attached name; the
    evaluator's ``state.metrics`` gets all the others too.

    Args:
        output_transform: takes ``(pred, label)`` from the engine's output, for example
            ``monai.handlers.from_engine(["pred", "label"])``.
        metrics: by name; :func:`scan_metrics` by default.

    Example:
        >>> import torch
        >>> from ignite.engine import Engine
        >>> from monai_ext.metrics import CaseMetrics, PerCase, dice, sensitivity
        >>> pred, label = torch.tensor([[[1, 1, 0, 0]]]), torch.tensor([[[0, 1, 1, 0]]])
        >>> evaluator = Engine(lambda engine, batch: (pred, label))
        >>> metrics = {"dice": PerCase(dice), "sensitivity": PerCase(sensitivity)}
        >>> CaseMetrics(metrics=metrics).attach(evaluator, "mean_dice")
        >>> evaluator.run([0]).metrics
        {'mean_dice': 0.5, 'dice': 0.5, 'sensitivity': 0.5}
    """

    def __init__(
        self, output_transform: Callable = pred_and_label, metrics: Mapping[str, PerCase] | None = None
    ) -> None:
        chosen = scan_metrics() if metrics is None else dict(metrics)
        names: list[str] = []
        for name, metric in chosen.items():
            classes = range(1, metric.num_classes)
            names += [name] if len(classes) == 1 else [f"{name}_{index}" for index in classes]

        def measure(pred: Tensor, truth: Tensor, spacing: list[float] | None) -> Tensor:
            return torch.cat([metric(pred, truth, spacing).float() for metric in chosen.values()])[None]

        def columns(rows: Tensor, case: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
            return {name: (value, case) for name, value in zip(names, rows.unbind(1))}

        first = next(iter(chosen.values()))
        super().__init__(CaseTable(measure, columns, len(names), first.num_classes - 1), output_transform)
