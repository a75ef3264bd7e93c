"""Pictures of a segmentation of many organs: the image, the true organs and the predicted ones in colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from monai_ext.data.io.whole_file import whole_file
from monai_ext.handlers.case_preview import CasePreview
from monai_ext.handlers.segmentation_preview import mark_right, radiological

__all__ = ["OrganPreview", "draw_organs"]

MAX_NAMED = 16  # organs in the legend


class OrganPreview(CasePreview):
    """One PNG per case: an axial and a coronal plane on the grid that the network saw.

    Args:
        folder: folder of the pictures.
        organs: names of the classes 1, 2, ...
        max_cases: largest number of cases to draw.
    """

    def __init__(self, folder: str, organs: Sequence[str], max_cases: int = 20) -> None:
        super().__init__(folder, max_cases)
        self.organs = tuple(organs)

    def draw(
        self, image: np.ndarray, pred: Tensor, truth: np.ndarray | None, spacing: list[float], path: Path, title: str
    ) -> None:
        """See :class:`CasePreview`; a prediction is a label map or scores of all classes."""
        found = (pred[0] if len(pred) == 1 else pred.argmax(0)).cpu().numpy().astype(int)
        truth = None if truth is None else truth.astype(int)
        draw_organs(image[0], found, truth, self.organs, path, title=title, spacing=spacing)


def colours(count: int) -> np.ndarray:
    """RGBA of ``count`` classes, ``[count + 1, 4]``, with transparent background; successive classes differ in hue."""
    hues = matplotlib.colormaps["hsv"]((np.arange(count) * 0.618034) % 1)  # steps of the golden ratio spread evenly
    hues[:, 3] = 0.55
    return np.concatenate([np.zeros((1, 4)), hues])


def planes(pred: np.ndarray, truth: np.ndarray | None) -> tuple[int, int]:
    """Indices z and y of the axial and the coronal plane with the most organ voxels, by the truth if it is known."""
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
        path: path of the PNG.
        title: title of the picture.
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
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=100)
