"""Dice, FNV and FPV of every case, as autoPET scores them."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.handlers import IgniteMetricHandler
from monai.metrics import CumulativeIterationMetric
from torch import Tensor

from monai_ext.metrics.lesion_volumes import false_negative_volume, false_positive_volume
from monai_ext.metrics.overlap import dice
from monai_ext.metrics.per_case import PerCase
from monai_ext.metrics.summary import Summary, summarize

__all__ = ["LesionScores", "LesionScoresMetric"]

SCORES: dict[str, Callable[..., Tensor]] = {
    "dice": partial(dice, only_lesions=True),
    "fnv_ml": false_negative_volume,
    "fpv_ml": false_positive_volume,
}


class LesionScoresMetric(CumulativeIterationMetric):
    """Accumulate Dice, false negative volume and false positive volume (ml) of each case (Gatidis et al. 2022).

    A lesion is a component of 18-connectivity. FPV is the volume of predicted lesions that touch no true one, FNV that
    of true lesions that no predicted voxel touches. Where there is no true lesion Dice and FNV are not defined and
    leave their means, and FPV counts; some scripts count 0 there, which makes both means smaller.

    Call it with ``y_pred`` and ``y`` as :class:`~monai_ext.metrics.PerCase`; the label must be a ``MetaTensor``, whose
    spacing gives the ml.
    """

    def __init__(self) -> None:
        super().__init__()
        self._parts = [PerCase(function) for function in SCORES.values()]
        self.patients: list[str] = []

    def reset(self) -> None:
        """Forget all cases."""
        super().reset()
        self.patients = []

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **_: Any) -> Tensor:
        """``[B, 3]``: Dice, FNV, FPV."""
        return torch.cat([part._compute_tensor(y_pred, y) for part in self._parts], dim=1)

    def values(self) -> Tensor:
        """``[cases, 3]`` so far: Dice, FNV, FPV; NaN where not defined."""
        buffer = self.get_buffer()
        return torch.zeros(0, len(SCORES)) if buffer is None else buffer

    def summary(self, **options: Any) -> dict[str, Summary]:
        """Each mean with n and a confidence interval that resamples whole patients; ``options`` go to `summarize`.

        ``patients`` names the patient of each value; where it does not, every case counts as one.
        """
        values = self.values()
        groups = self.patients if len(self.patients) == len(values) else None
        return {name: summarize(column, groups, **options) for name, column in zip(SCORES, values.unbind(1))}

    def aggregate(self) -> Tensor:
        """Mean Dice over the cases that have a lesion, NaN when none has."""
        return self.values()[:, 0].nanmean()


class LesionScores(IgniteMetricHandler):
    """:class:`LesionScoresMetric` for MONAI's evaluators.

    Under the name it is attached with stands the mean Dice; the evaluator's ``state.metrics`` also gets the means
    ``fnv_ml`` and ``fpv_ml``.

    Args:
        output_transform: takes ``(pred, label)`` from the engine's output, for example
            ``monai.handlers.from_engine(["pred", "label"])``.
        path: CSV to write with the scores of each case, by its id; None for none.
    """

    def __init__(self, output_transform: Callable = lambda x: x, path: str | None = None) -> None:
        self.metric, self.path = LesionScoresMetric(), path
        self.cases: list[str] = []
        super().__init__(metric_fn=self.metric, output_transform=output_transform)

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
        """Write the mean Dice under ``name``, the other means beside it, and the table of cases."""
        super().completed(engine, name)
        values = self.metric.values()
        _, fnv, fpv = values.nanmean(0).tolist()
        engine.state.metrics.update({"fnv_ml": fnv, "fpv_ml": fpv})
        if self.path is not None and engine.state.rank == 0:  # type: ignore[attr-defined]
            write_scores(self.path, self.cases, values)


def write_scores(path: str | Path, cases: list[str], values: Tensor) -> None:
    """One line per case; what is not defined stays empty."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["case", *SCORES])
        for case, row in zip(cases, values.tolist()):
            table.writerow([case, *("" if math.isnan(value) else f"{value:.6g}" for value in row)])
