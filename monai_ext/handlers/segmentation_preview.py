"""Pictures of a segmentation: the modalities, the probability, and the outlines of truth and prediction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine
from matplotlib.figure import Figure
from monai.engines.utils import IterationEvents

__all__ = ["SegmentationPreview", "draw_segmentation"]

TRUTH, PREDICTION = "#3ddc84", "#ff9f1c"


class SegmentationPreview:
    """Write one PNG per case, ``<folder>/<id>.png``, on the grid that the network saw.

    Args:
        folder: takes the pictures.
        channels: names of the modalities.
        max_cases: stop drawing after so many cases.
        num_slices: axial slices of a case: those with the most lesion, in truth and in prediction.
    """

    def __init__(self, folder: str, channels: Sequence[str], max_cases: int = 20, num_slices: int = 3) -> None:
        self.folder, self.channels = Path(folder), tuple(channels)
        self.max_cases, self.num_slices = max_cases, num_slices
        self.drawn = 0

    def attach(self, engine: Engine) -> None:
        """Draw each case between the network and the postprocessing, which moves the prediction to another grid."""
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Draw the cases of a batch."""
        state: Any = engine.state
        output, batch = state.output, state.batch
        lesion = 1 - output["pred"].softmax(1)[:, 0]
        names = batch.get("id", [f"case{self.drawn + i}" for i in range(len(lesion))])
        label = batch.get("label")
        for i, name in enumerate(names):
            if self.drawn >= self.max_cases:
                return
            self.drawn += 1
            draw_segmentation(
                output["image"][i].float().cpu().numpy(),
                lesion[i].float().cpu().numpy(),
                None if label is None else label[i, 0].cpu().numpy() > 0,
                self.channels,
                self.folder / f"{name}.png",
                title=str(name),
                num_slices=self.num_slices,
            )


def chosen_slices(probability: np.ndarray, truth: np.ndarray | None, count: int) -> list[int]:
    """Slices that show most: most true lesion, most predicted lesion, then highest probability; in order of z."""
    scores = [(probability > 0.5).sum((0, 1)), probability.max((0, 1))]
    if truth is not None:
        scores.insert(0, truth.sum((0, 1)))
    order = [int(score.argmax()) for score in scores if score.max() > 0]
    order += [int(z) for score in scores for z in np.argsort(-score, kind="stable")]
    return sorted(list(dict.fromkeys(order))[:count])


def draw_segmentation(
    image: np.ndarray,
    probability: np.ndarray,
    truth: np.ndarray | None,
    channels: Sequence[str],
    path: Path,
    title: str = "",
    num_slices: int = 3,
) -> None:
    """Draw axial slices in the radiological view, one row per slice.

    Args:
        image: ``[C, X, Y, Z]``, RAS.
        probability: ``[X, Y, Z]`` of lesion.
        truth: bool ``[X, Y, Z]``, if known.
        channels: names of the modalities.
        path: of the PNG.
        title: of the picture.
        num_slices: rows.
    """
    rows = chosen_slices(probability, truth, num_slices)
    columns = [*channels, "lesion probability"]
    figure = Figure(figsize=(2.4 * len(columns), 2.4 * len(rows) + 0.5), layout="constrained")
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    limits = [np.percentile(channel, [1, 99]) for channel in image]

    def view(plane: np.ndarray) -> np.ndarray:
        return plane.T[::-1, ::-1]  # RAS to radiological: patient's right on the left, anterior on top

    for line, z in zip(axes, rows):
        for c, axis in enumerate(line):
            axis.set_xticks([])
            axis.set_yticks([])
            if c < len(channels):
                low, high = limits[c]
                axis.imshow(view(image[c, :, :, z]), cmap="gray", vmin=low, vmax=high)
                for mask, color in ((truth, TRUTH), (probability > 0.5, PREDICTION)):
                    if mask is not None and mask[:, :, z].any():
                        axis.contour(view(mask[:, :, z]).astype(float), [0.5], colors=color, linewidths=1.2)
            else:
                shown = axis.imshow(view(probability[:, :, z]), cmap="inferno", vmin=0, vmax=1)
        line[0].set_ylabel(f"slice {z}", fontsize=9)
    for axis, name in zip(axes[0], columns):
        axis.set_title(name, fontsize=9)
    figure.colorbar(shown, ax=axes[:, -1], shrink=0.6)
    known = "" if truth is None else "green: truth, "
    figure.suptitle(f"{title}   ({known}orange: prediction)", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
