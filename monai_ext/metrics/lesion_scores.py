"""Dice, FNV and FPV of every case, as autoPET scores them."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from pathlib import Path

from ignite.engine import Engine, Events
from torch import Tensor

from monai_ext.data.io.whole_file import whole_file
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

    The mean Dice is reported under the attached name; the evaluator's ``state.metrics`` also gets the means. Intervals
    resample whole patients, by ``patient`` of the items; an item without one counts as a patient. The label must be a
    ``MetaTensor``, whose spacing gives the ml.

    Args:
        output_transform: takes ``(pred, label)`` from the engine's output, for example
            ``monai.handlers.from_engine(["pred", "label"])``.
        path: CSV to write with the scores of each case, by its id; None for none.

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

    def __init__(self, output_transform: Callable = pred_and_label, path: str | None = None) -> None:
        scores = {
            "dice": PerCase(dice, only_lesions=True),
            "fnv_ml": PerCase(false_negative_volume),
            "fpv_ml": PerCase(false_positive_volume),
        }
        super().__init__(output_transform, scores)
        self.path = path
        self.cases: list[str] = []

    def attach(self, engine: Engine, name: str) -> None:  # type: ignore[override]
        """Attach to an evaluator."""
        super().attach(engine, name)
        engine.add_event_handler(Events.EPOCH_STARTED, self._forget)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._name_cases)

    def _forget(self, engine: Engine) -> None:
        self.cases = []

    def _name_cases(self, engine: Engine) -> None:
        for item in engine.state.batch:  # type: ignore[union-attr]  # decollated
            case = str(item.get("id", len(self.cases)))
            self.cases.append(case)
            self.metric.patients.append(str(item.get("patient", case)))

    def completed(self, engine: Engine, name: str) -> None:
        """Write the mean Dice under ``name``, all means beside it, and the table of cases."""
        super().completed(engine, name)
        if self.path is not None and engine.state.rank == 0:  # type: ignore[attr-defined]
            write_scores(self.path, self.cases, self.metric.values())


def write_scores(path: str | Path, cases: list[str], values: Mapping[str, Tensor]) -> None:
    """One line per case; what is not defined stays empty."""
    with whole_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["case", *values])
        for case, row in zip(cases, zip(*(column.tolist() for column in values.values()))):
            table.writerow([case, *("" if math.isnan(value) else f"{value:.6g}" for value in row)])
