"""Check on labelled data whether masking without labels finds the lesions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor

from monai_ext.metrics import lesion_recall
from monai_ext.metrics.summary import Summary, summarize

__all__ = ["LesionRecall"]

logger = logging.getLogger(__name__)


class LesionRecall:
    """Recall of the lesion patches by the masks of a masked pretraining, against chance.

    Each epoch of the engine writes ``lesion_recall`` and ``lesion_recall_by_chance`` (the masking ratio of the same
    slices) to its ``state.metrics`` and thus to TensorBoard. :meth:`summary` adds the last epoch to the report, with
    the number of counted slices as n and an interval over patients. Masking that is not better than chance is a
    warning. Slices without a lesion patch and cases without a label do not count.

    Args:
        patch_size: pixels of a patch along each axis.
        min_share: a patch counts as lesion when lesion fills more than this share of it.
    """

    def __init__(self, patch_size: Sequence[int], min_share: float = 0.1) -> None:
        self.patch_size, self.min_share = tuple(patch_size), min_share
        self._rows: list[Tensor] = []
        self._cases: list[str] = []

    def attach(self, engine: Engine) -> None:
        """Follow a :class:`MaskedPretrainer` or a :class:`MaskedEvaluator`."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.completed)

    def start(self, engine: Engine) -> None:
        """Forget the last epoch."""
        self._rows, self._cases = [], []

    def __call__(self, engine: Engine) -> None:
        """Count a batch; nothing is copied to the host."""
        state: Any = engine.state
        label = state.batch.get("label")
        if label is None:
            return
        mask = state.output["mask"]
        found = lesion_recall(mask, label.to(mask.device), self.patch_size, self.min_share)
        self._rows.append(torch.stack(found, 1))
        self._cases += [str(case) for case in state.batch.get("id", range(len(label)))]

    def values(self) -> tuple[Tensor, list[str]]:
        """Recall and chance of the slices with lesion ``[S, 2]``, and the case of each."""
        rows = torch.cat(self._rows).float().cpu() if self._rows else torch.zeros(0, 2)
        counted = ~rows[:, 0].isnan()
        return rows[counted], [case for case, use in zip(self._cases, counted.tolist()) if use]

    def completed(self, engine: Engine) -> None:
        """Write both means into the engine's metrics and the log."""
        rows, _ = self.values()
        if not len(rows):
            return
        recall, chance = rows.mean(0).tolist()
        engine.state.metrics |= {"lesion_recall": recall, "lesion_recall_by_chance": chance}
        level = logging.INFO if recall > chance else logging.WARNING
        verdict = "" if recall > chance else ": no better than random masks; try another clustering#foreground"
        logger.log(
            level, "the masks hide %.0f %% of the lesion patches, chance %.0f %%%s", 100 * recall, 100 * chance, verdict
        )

    def summary(self, **options: Any) -> dict[str, Summary]:
        """Both means of the last epoch; empty without labels."""
        rows, cases = self.values()
        if not len(rows):
            return {}
        names = ("lesion_recall", "lesion_recall_by_chance")
        return {name: summarize(value, cases, **options) for name, value in zip(names, rows.unbind(1))}
