"""What the clicks of a reader change, as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ignite.engine import Engine, Events
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from monai_ext.data.io.whole_file import whole_file
from monai_ext.handlers.metric_names import metric_label
from monai_ext.metrics import ClickScores
from monai_ext.metrics.click_scores import SCORES

__all__ = ["ClickCurves"]


class ClickCurves:
    """Draw Dice, FNV and FPV against the number of clicks: each case, and the mean with its 95 % interval.

    Args:
        path: path of the PNG.
        scores: whose last result is drawn.
    """

    def __init__(self, path: str, scores: ClickScores) -> None:
        self.path, self.scores = Path(path), scores

    def attach(self, engine: Engine) -> None:
        """Draw at the end of the run."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Draw now, on rank 0."""
        table = self.scores.metric
        numbers = np.arange(self.scores.max_clicks + 1)
        values, summary = table.values(), table.summary()
        if engine.state.rank != 0:  # type: ignore[attr-defined]
            return
        figure = Figure(figsize=(12, 3.8), layout="constrained", facecolor="white")
        for axis, score in zip(figure.subplots(1, len(SCORES)), SCORES):
            names = [f"{score}_{number}" for number in numbers]
            cases = np.stack([values[name].cpu().numpy() for name in names])
            axis.plot(numbers, cases, color="#b9c4d0", linewidth=0.8)
            low, mean, high = ([summary[name][end] for name in names] for end in ("ci_low", "mean", "ci_high"))  # type: ignore[literal-required]
            axis.fill_between(numbers, low, high, color="#1f6feb", alpha=0.2, linewidth=0)
            axis.plot(numbers, mean, color="#1f6feb", linewidth=2, marker="o", markersize=4)
            axis.set(xlabel="clicks of each kind", ylabel=metric_label(score))
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.grid(color="#e3e8ee")
            if score.endswith("_ml"):
                axis.set_ylim(bottom=0)
        known = f"{cases.shape[1]} cases, {summary[f'{SCORES[0]}_0']['n']} with lesion"
        figure.suptitle(f"{known}; grey: each case, blue: mean and 95 % interval", fontsize=10)
        with whole_file(self.path) as temporary:
            figure.savefig(temporary, dpi=110)
