"""Learning curves of a run: read from TensorBoard's files, drawn with axes."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from monai_ext.handlers.metric_names import metric_label

__all__ = ["Curve", "draw_learning", "read_scalars", "telling"]

Curve = Sequence[tuple[int, float]]
TRAIN_LOSS = "train_loss"  # counted in steps; all others in epochs
COLUMNS = 3


def read_scalars(folder: str | Path) -> dict[str, Curve]:
    """Scalars of all TensorBoard files in a folder: tag -> (step, value) in order of steps.

    A resumed run has several files; when two hold the same step, the later file counts.
    """
    if not any(Path(folder).glob("events.*")):
        return {}
    logging.getLogger("tensorboard").setLevel(logging.WARNING)
    events = EventAccumulator(str(folder), size_guidance={"scalars": 2000})
    events.Reload()
    curves = {}
    for tag in events.Tags()["scalars"]:
        latest: dict[int, float] = {}
        for event in sorted(events.Scalars(tag), key=lambda event: event.wall_time):
            latest[event.step] = event.value
        curves[tag] = sorted((step, value) for step, value in latest.items() if math.isfinite(value))
    return {tag: curve for tag, curve in curves.items() if len(curve) > 1}


def telling(curves: Mapping[str, Curve]) -> dict[str, Curve]:
    """Curves that tell something: neither constant nor the same as one before.

    Example:
        >>> from monai_ext.handlers.learning_curves import telling
        >>> list(telling({"val_dice": [(1, 0.2), (2, 0.4)], "dice": [(1, 0.2), (2, 0.4)], "n": [(1, 8.0), (2, 8.0)]}))
        ['val_dice']
    """
    kept: dict[str, Curve] = {}
    for tag, curve in curves.items():
        points = np.array(curve, dtype=float)
        same = (np.shape(other) == points.shape and np.allclose(other, points, rtol=1e-5) for other in kept.values())
        if len(points) and np.ptp(points[:, 1]) > 0 and not any(same):
            kept[tag] = curve
    return kept


def draw_learning(curves: Mapping[str, Curve]) -> str:
    """The curves as one SVG, each on its own axes.

    Args:
        curves: at least one, see :func:`read_scalars`; ``train_loss`` over steps, others over epochs.
    """
    rows = -(-len(curves) // COLUMNS)
    figure = Figure(figsize=(3.6 * COLUMNS, 2.6 * rows), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axis in axes[len(curves) :]:
        axis.set_visible(False)
    for axis, (tag, curve) in zip(axes, curves.items()):
        steps, values = zip(*curve)
        axis.plot(steps, values, color="#1f6feb", linewidth=1.4, gid=f"curve {tag}")
        axis.set(xlabel="step" if tag == TRAIN_LOSS else "epoch", ylabel=metric_label(tag))
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axis.grid(color="#e3e8ee", linewidth=0.8)
        axis.spines[["top", "right"]].set_visible(False)
    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "font.size": 9}):
        figure.savefig(text, format="svg", transparent=True)
    return text.getvalue()[text.getvalue().index("<svg") :]
