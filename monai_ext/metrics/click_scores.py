"""Dice, FNV and FPV of every case after each number of clicks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from monai_ext.metrics.bridge import CaseBridge, CaseTable, pred_and_label
from monai_ext.metrics.lesion_volumes import false_negative_volume, false_positive_volume
from monai_ext.metrics.overlap import dice

__all__ = ["ClickScores"]

SCORES = ("dice", "fnv_ml", "fpv_ml")


class ClickScores(CaseBridge):
    """The scores of :class:`~monai_ext.metrics.LesionScores` after 0, 1, ... clicks: ``dice_0``, ``fnv_ml_0``, ...

    The mean Dice over all numbers of clicks is reported under the attached name: the area under the curve, to be high
    both before and after the clicks.

    Args:
        max_clicks: largest number of clicks.
        output_transform: takes ``(pred, label)`` from the engine's output; the prediction has a mask for each number of
            clicks, ``[max_clicks + 1, X, Y, Z]``.

    Example:
        >>> import torch
        >>> from ignite.engine import Engine
        >>> from monai.data import MetaTensor
        >>> from monai_ext.metrics import ClickScores
        >>> label = MetaTensor(torch.zeros(1, 10, 10, 10))
        >>> label[:, :2, :2, :2] = 1
        >>> masks = torch.cat([label * 0, label])  # nothing without a click, all after the first
        >>> evaluator = Engine(lambda engine, batch: ([masks], [label]))
        >>> ClickScores(max_clicks=1).attach(evaluator, "mean_dice")
        >>> found = evaluator.run([0]).metrics
        >>> [round(found[name], 3) for name in ("mean_dice", "dice_0", "dice_1", "fnv_ml_0", "fnv_ml_1", "fpv_ml_1")]
        [0.5, 0.0, 1.0, 0.008, 0.0, 0.0]
    """

    def __init__(self, max_clicks: int = 10, output_transform: Callable = pred_and_label) -> None:
        self.max_clicks, count = max_clicks, max_clicks + 1

        def measure(pred: Tensor, truth: Tensor, spacing: list[float] | None) -> Tensor:
            if len(pred) != count or spacing is None:
                raise ValueError(f"need {count} masks and a label that knows its voxel size, got {tuple(pred.shape)}")
            masks, lesion = pred > 0, (truth > 0).expand(count, *truth.shape[1:])
            scores = (
                dice(masks, lesion, only_lesions=True),
                false_negative_volume(masks, lesion, spacing),
                false_positive_volume(masks, lesion, spacing),
            )
            return torch.cat([score.float().cpu() for score in scores])[None]

        def columns(rows: Tensor, case: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
            names = [f"{score}_{number}" for score in SCORES for number in range(count)]
            return {name: (value, case) for name, value in zip(names, rows.unbind(1))}

        super().__init__(CaseTable(measure, columns, len(SCORES) * count, num_keys=count), output_transform)
