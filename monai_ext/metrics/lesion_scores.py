"""Dice, FNV and FPV of every case, as autoPET scores them."""

from __future__ import annotations

from collections.abc import Callable

from monai_ext.metrics.bridge import pred_and_label
from monai_ext.metrics.case_metrics import CaseMetrics
from monai_ext.metrics.lesion_volumes import false_negative_volume, false_positive_volume
from monai_ext.metrics.overlap import dice
from monai_ext.metrics.per_case import PerCase

__all__ = ["LesionScores"]


class LesionScores(CaseMetrics):
    """Dice, false negative volume and false positive volume (ml) of each case (Gatidis et al. 2022).

    A lesion is a component of 18-connectivity. FPV is the volume of predicted lesions that touch no true one, FNV that
    of true lesions that no predicted voxel touches. Where there is no true lesion Dice and FNV are not defined and
    leave their means, and FPV counts; some scripts count 0 there, which makes both means smaller.

    The mean Dice is reported under the attached name; the evaluator's ``state.metrics`` also gets the means. The label
    must be a ``MetaTensor``, whose spacing gives the ml.

    Args:
        output_transform: takes ``(pred, label)`` from the engine's output, for example
            ``monai.handlers.from_engine(["pred", "label"])``.

    Example:
        >>> import torch
        >>> from ignite.engine import Engine
        >>> from monai.data import MetaTensor
        >>> from monai_ext.metrics import LesionScores
        >>> label = MetaTensor(torch.zeros(1, 1, 8, 8, 8))
        >>> label[..., :2, :2, :2] = 1
        >>> evaluator = Engine(lambda engine, batch: (label, label))
        >>> LesionScores().attach(evaluator, "mean_dice")
        >>> evaluator.run([[{"id": "case_1"}]]).metrics
        {'mean_dice': 1.0, 'dice': 1.0, 'fnv_ml': 0.0, 'fpv_ml': 0.0}
    """

    def __init__(self, output_transform: Callable = pred_and_label) -> None:
        scores = {
            "dice": PerCase(dice, only_lesions=True),
            "fnv_ml": PerCase(false_negative_volume),
            "fpv_ml": PerCase(false_positive_volume),
        }
        super().__init__(output_transform, scores)
