"""ROC and FROC curves of a detection as a picture."""

from __future__ import annotations

import math
from pathlib import Path

from ignite.engine import Engine, Events
from matplotlib.figure import Figure

from monai_ext.data.io.whole_file import whole_file
from monai_ext.metrics import Detection, DetectionScore, Estimate

__all__ = ["DetectionCurves", "draw_curves"]


def _text(name: str, estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return f"{name} is not defined"
    known = not math.isnan(estimate.ci_low)
    interval = f" (95 % CI {estimate.ci_low:.3f} to {estimate.ci_high:.3f})" if known else ""
    return f"{name} {estimate.value:.3f}{interval}"


def draw_curves(detection: Detection, path: str | Path, title: str = "") -> None:
    """Draw sensitivity per patient against false positives (ROC) and per lesion against false positives (FROC).

    Args:
        detection: result of :func:`monai_ext.metrics.evaluate_detection`.
        path: path of the PNG.
        title: title of the picture.
    """
    figure = Figure(figsize=(9, 4.3), layout="constrained", facecolor="white")
    roc, froc = figure.subplots(1, 2)
    panels = (
        (roc, detection.roc, "false positive rate (patients)", "sensitivity (patients)", detection.auroc, "AUROC"),
        (
            froc,
            detection.froc,
            "false positives per patient",
            "sensitivity (lesions)",
            detection.average_precision,
            "AP",
        ),
    )
    for axis, (x, y), across, upwards, estimate, name in panels:
        axis.set_xlabel(across)
        axis.set_ylabel(upwards)
        axis.set_ylim(-0.02, 1.02)
        axis.set_title(_text(name, estimate), fontsize=10)
        axis.grid(alpha=0.3)
        if x:
            axis.step(x, y, where="post", color="#1f5fa8")
        else:
            axis.text(0.5, 0.5, "not defined", ha="center", transform=axis.transAxes)
    roc.plot([0, 1], [0, 1], color="gray", linewidth=0.8, linestyle="--")
    roc.set_xlim(-0.02, 1.02)
    about = f"{detection.num_cases} patients, {detection.num_positives} with {detection.num_lesions} lesions"
    notes = "".join(f"\n{note}" for note in detection.notes)
    figure.suptitle(f"{title} {about}{notes}".strip(), fontsize=9)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=110)


class DetectionCurves:
    """Draw the curves of a :class:`DetectionScore` when a run ends, and print its notes.

    Args:
        path: path of the PNG.
        score: metric whose last result is drawn.
    """

    def __init__(self, path: str, score: DetectionScore) -> None:
        self.path, self.score = path, score

    def attach(self, engine: Engine) -> None:
        """Draw at the end of the run."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Draw now."""
        if self.score.detection is not None:
            draw_curves(self.score.detection, self.path)
            for note in self.score.detection.notes:
                print(f"note: {note}")
