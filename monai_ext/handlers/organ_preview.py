"""Pictures of a segmentation of many organs: the image, the true organs and the predicted ones in colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from ignite.engine import Engine
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from monai.data import MetaTensor
from monai.engines.utils import IterationEvents

from monai_ext.handlers.segmentation_preview import mark_right, radiological

__all__ = ["OrganPreview", "draw_organs"]

MAX_NAMED = 16  # organs in the legend


class OrganPreview:
    """Write one PNG per case, ``<folder>/<id>.png``: an axial and a coronal plane on the grid that the network saw.

    Args:
        folder: takes the pictures.
        organs: names of the classes 1, 2, ...
        max_cases: stop drawing after so many cases.
    """

    def __init__(self, folder: str, organs: Sequence[str], max_cases: int = 20) -> None:
        self.folder, self.organs, self.max_cases = Path(folder), tuple(organs), max_cases
        self.drawn = 0

    def attach(self, engine: Engine) -> None:
        """Draw each case between the network and the postprocessing, which moves the prediction to another grid."""
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Draw the cases of a batch; a prediction is a label map or scores of all classes."""
        state: Any = engine.state
        if getattr(state, "rank", 0) != 0:
            return
        image, pred, label = state.output["image"], state.output["pred"], state.batch.get("label")
        names = state.batch.get("id", [f"case{self.drawn + i}" for i in range(len(image))])
        for i in range(min(len(names), self.max_cases - self.drawn)):
            self.drawn += 1
            spacing = np.asarray(image.pixdim).reshape(-1, 3)[-1] if isinstance(image, MetaTensor) else (1, 1, 1)
            draw_organs(
                image[i, 0].float().cpu().numpy(),
                (pred[i, 0] if pred.shape[1] == 1 else pred[i].argmax(0)).cpu().numpy().astype(int),
                None if label is None else label[i, 0].cpu().numpy().astype(int),
                self.organs,
                self.folder / f"{names[i]}.png",
                title=str(names[i]),
                spacing=[float(mm) for mm in spacing],
            )


def colours(count: int) -> np.ndarray:
    """RGBA of ``count`` classes, ``[count + 1, 4]``, the background transparent; neighbours in number differ in hue."""
    hues = matplotlib.colormaps["hsv"]((np.arange(count) * 0.618034) % 1)  # steps of the golden ratio spread evenly
    hues[:, 3] = 0.55
    return np.concatenate([np.zeros((1, 4)), hues])


def planes(pred: np.ndarray, truth: np.ndarray | None) -> tuple[int, int]:
    """Numbers z and y of the axial and the coronal plane with the most organ, by truth where it is known."""
    organ = (pred if truth is None or not truth.any() else truth) > 0
    if not organ.any():
        return pred.shape[2] // 2, pred.shape[1] // 2
    return int(organ.sum((0, 1)).argmax()), int(organ.sum((0, 2)).argmax())


def draw_organs(
    image: np.ndarray,
    pred: np.ndarray,
    truth: np.ndarray | None,
    organs: Sequence[str],
    path: Path,
    title: str = "",
    spacing: Sequence[float] = (1, 1, 1),
) -> None:
    """Draw an axial and a coronal plane, in the radiological view.

    Args:
        image: ``[X, Y, Z]``, RAS.
        pred: class indices ``[X, Y, Z]``.
        truth: class indices ``[X, Y, Z]``, if known.
        organs: names of the classes 1, 2, ...
        path: of the PNG.
        title: of the picture.
        spacing: mm of a voxel.
    """
    z, y = planes(pred, truth)
    maps = {"image": None, "truth": truth, "prediction": pred}
    maps = {name: labels for name, labels in maps.items() if name != "truth" or truth is not None}
    rgba = colours(len(organs))
    figure = Figure(figsize=(3 * len(maps) + 1.6, 6.4), layout="constrained", facecolor="white")
    axes = figure.subplots(2, len(maps), squeeze=False)
    low, high = np.percentile(image, [0.5, 99.5])
    views: tuple[tuple[str, Any, float], ...] = (
        (f"axial, slice {z + 1} of {image.shape[2]}", np.s_[:, :, z], spacing[1] / spacing[0]),
        (f"coronal, {y + 1} of {image.shape[1]}", np.s_[:, y, :], spacing[2] / spacing[0]),
    )
    for line, (view, plane, aspect) in zip(axes, views):
        for axis, (name, labels) in zip(line, maps.items()):
            axis.imshow(radiological(image[plane]), cmap="gray", vmin=low, vmax=high, aspect=aspect)
            if labels is not None:
                axis.imshow(rgba[radiological(labels[plane])], interpolation="nearest", aspect=aspect)
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_title(name, fontsize=9)
        line[0].set_ylabel(view, fontsize=9)
        mark_right(line[0])
    shown = [v[plane] for v in (pred, truth) if v is not None for _, plane, _ in views]
    found, counts = np.unique(np.concatenate([part.ravel() for part in shown]), return_counts=True)
    named = [int(v) for v in found[np.argsort(-counts)] if v > 0][:MAX_NAMED]
    handles = [Patch(color=rgba[v], label=organs[v - 1]) for v in sorted(named)]
    if handles:
        figure.legend(handles=handles, loc="outside right upper", fontsize=7, frameon=False)
    figure.suptitle(title, fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
