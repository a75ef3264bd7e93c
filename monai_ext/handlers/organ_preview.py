"""Pictures of a segmentation of many organs: the image, the true organs and the predicted ones in colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from monai_ext.data.io.whole_file import whole_file
from monai_ext.handlers.case_preview import MAX_CASES, CasePreview, ShownCase
from monai_ext.handlers.segmentation_preview import NUMBERING, mark_right, radiological

__all__ = ["OrganPreview"]

MAX_NAMED = 16  # organs in the legend


class OrganPreview(CasePreview):
    """One PNG per case: an axial, a coronal and a sagittal plane with much organ.

    Args:
        folder: folder of the pictures.
        organs: names of the classes 1, 2, ...
        max_cases: largest number of cases to draw.
    """

    def __init__(self, folder: str, organs: Sequence[str], max_cases: int = MAX_CASES) -> None:
        super().__init__(folder, max_cases)
        self.organs = tuple(organs)

    def draw(self, case: ShownCase, path: Path) -> None:
        """See :class:`CasePreview`."""
        image, view = case.image[0], case.view
        places = planes(case.pred, case.truth)
        maps = {"image": None, "truth": case.truth, "prediction": case.pred}
        maps = {name: labels for name, labels in maps.items() if name != "truth" or labels is not None}
        rgba = colours(len(self.organs))
        planes_of: list[Any] = [np.s_[places[0], :, :], np.s_[:, places[1], :], np.s_[:, :, places[2]]]
        rows = []
        for axis, name in ((2, "axial"), (1, "coronal"), (0, "sagittal")):
            across, along = (other for other in range(3) if other != axis)
            size = image.shape[along] * view.spacing[along] / (image.shape[across] * view.spacing[across])
            rows.append((axis, name, planes_of[axis], view.spacing[along] / view.spacing[across], size))
        heights = [min(max(size, 0.4), 2.0) for *_, size in rows]
        width = 2.6 * len(maps) + 1.8
        figure = Figure(figsize=(width, 2.6 * sum(heights) + 0.6), layout="constrained", facecolor="white")
        axes = figure.subplots(3, len(maps), squeeze=False, height_ratios=heights)
        low, high = np.percentile(image, [0.5, 99.5])
        for line, (axis, name, plane, aspect, _) in zip(axes, rows):
            for one, (caption, labels) in zip(line, maps.items()):
                one.imshow(radiological(image[plane]), cmap="gray", vmin=low, vmax=high, aspect=aspect)
                if labels is not None:
                    one.imshow(rgba[radiological(labels[plane])], interpolation="nearest", aspect=aspect)
                one.set(xticks=[], yticks=[])
                if axis == 2:
                    one.set_title(caption, fontsize=9)
            line[0].set_ylabel(f"{name}\n{view.number(axis, places[axis])}", fontsize=9)
            if axis != 0:
                mark_right(line[0])
        shown = [v[plane] for v in (case.pred, case.truth) if v is not None for plane in planes_of]
        found, counts = np.unique(np.concatenate([part.ravel() for part in shown]), return_counts=True)
        named = [int(v) for v in found[np.argsort(-counts)] if v > 0][:MAX_NAMED]
        handles = [Patch(color=rgba[v], label=self.organs[v - 1]) for v in sorted(named)]
        if handles:
            figure.legend(handles=handles, loc="outside right upper", fontsize=7, frameon=False)
        figure.suptitle(case.title, fontsize=10)
        figure.supxlabel(NUMBERING, fontsize=7)
        with whole_file(path) as temporary:
            figure.savefig(temporary, dpi=100)


def colours(count: int) -> np.ndarray:
    """RGBA of ``count`` classes, ``[count + 1, 4]``, with transparent background; successive classes differ in hue."""
    hues = matplotlib.colormaps["hsv"]((np.arange(count) * 0.618034) % 1)  # steps of the golden ratio spread evenly
    hues[:, 3] = 0.55
    return np.concatenate([np.zeros((1, 4)), hues])


def planes(pred: NDArray[Any], truth: NDArray[Any] | None) -> tuple[int, int, int]:
    """Indices x, y and z of the planes with the most organ voxels, by the truth if it is known; else the middle."""
    organ = (pred if truth is None or not truth.any() else truth) > 0
    if not organ.any():
        return pred.shape[0] // 2, pred.shape[1] // 2, pred.shape[2] // 2
    return int(organ.sum((1, 2)).argmax()), int(organ.sum((0, 2)).argmax()), int(organ.sum((0, 1)).argmax())
