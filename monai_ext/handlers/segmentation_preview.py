"""Pictures of a segmentation: the modalities, the probability, and the outlines of truth and prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from monai_ext.data.io.whole_file import whole_file
from monai_ext.handlers.case_preview import MAX_CASES, CasePreview, ShownCase
from monai_ext.handlers.scan_view import chosen_slices

__all__ = ["SegmentationPreview", "mark_right", "outline", "outline_legend", "radiological"]

TRUTH, PREDICTION = "#3ddc84", "#ff9f1c"
NUMBERING = "slices count from 1 in the order of the file"


def radiological(plane: NDArray[Any]) -> NDArray[Any]:
    """An axial plane ``[X, Y]`` (RAS) as an image: the patient's right on the left, anterior on top."""
    return plane.T[::-1, ::-1]


def mark_right(axis: Axes) -> None:
    """Write R where the patient's right is."""
    box = {"facecolor": "black", "edgecolor": "none", "pad": 1.5}
    axis.text(0.02, 0.5, "R", transform=axis.transAxes, color="white", fontsize=8, va="center", bbox=box)


def outline(axis: Axes, truth: NDArray[np.bool_] | None, pred: NDArray[np.bool_]) -> None:
    """Outline the masks of a plane, ``[X, Y]`` (RAS) each, on its image."""
    for mask, color in ((truth, TRUTH), (pred, PREDICTION)):
        if mask is not None and mask.any():
            padded = np.pad(radiological(mask).astype(float), 1)  # a lesion may touch the border
            rows, columns = (np.arange(-1, n - 1) for n in padded.shape)
            axis.contour(columns, rows, padded, [0.5], colors=color, linewidths=1.2)
            axis.set(xlim=(-0.5, mask.shape[0] - 0.5), ylim=(mask.shape[1] - 0.5, -0.5))


def outline_legend(truth: NDArray[np.bool_] | None, pred: NDArray[np.bool_], ml: float) -> str:
    """What the outlines are, with the volumes; ``ml`` of a voxel."""
    known = "" if truth is None else f"green: truth, {_ml(truth, ml)}; " if truth.any() else "no lesion in truth; "
    return known + (f"orange: predicted, {_ml(pred, ml)}" if pred.any() else "no lesion predicted")


def _ml(mask: NDArray[np.bool_], ml: float) -> str:
    volume = float(mask.sum()) * ml
    return f"{volume:.1f} ml" if volume >= 1 else f"{volume:.2f} ml"


class SegmentationPreview(CasePreview):
    """One PNG per case: axial slices with lesion, in the radiological view, one row per slice.

    Args:
        folder: folder of the pictures.
        channels: names of the modalities.
        max_cases: largest number of cases to draw.
        num_slices: number of axial slices of a case: with much lesion in truth, in prediction and in their difference,
            or, without any, of high probability, apart from each other.
        scales: lowest and highest shown value by the name of a channel, so that cases can be compared; the others are
            scaled to each case.
        own_channel: see :class:`CasePreview`.
    """

    def __init__(
        self,
        folder: str,
        channels: Sequence[str],
        max_cases: int = MAX_CASES,
        num_slices: int = 3,
        scales: Mapping[str, Sequence[float]] | None = None,
        own_channel: int | None = 0,
    ) -> None:
        super().__init__(folder, max_cases, own_channel)
        self.channels, self.num_slices, self.scales = tuple(channels), num_slices, dict(scales or {})

    def draw(self, case: ShownCase, path: Path) -> None:
        """See :class:`CasePreview`."""
        part = case.seen
        image, pred = case.image[(slice(None), *part)], case.pred[part] > 0
        truth = None if case.truth is None else case.truth[part] > 0
        probability = None if case.probability is None else case.probability[part]
        scores = [pred.sum((0, 1))]
        if truth is not None:
            scores = [truth.sum((0, 1)), *scores, (truth ^ pred).sum((0, 1))]
        if probability is not None and not np.any(scores):
            scores = [probability.max((0, 1))]
        rows = chosen_slices([score.astype(float) for score in scores], self.num_slices)
        columns = [*self.channels, *([] if probability is None else ["lesion probability"])]
        aspect = case.view.spacing[1] / case.view.spacing[0]
        height = 2.6 * min(max(aspect * image.shape[2] / image.shape[1], 0.5), 2)
        figure = Figure(figsize=(max(2.6 * len(columns), 4.4) + 0.6, height * len(rows) + 0.8), layout="constrained")
        axes = figure.subplots(len(rows), len(columns), squeeze=False)
        limits = [self.scales.get(n) or np.nanpercentile(c, [0.5, 99.8]) for n, c in zip(self.channels, image)]
        for line, z in zip(axes, rows):
            for axis, channel, (low, high) in zip(line, image, limits):
                axis.imshow(radiological(channel[..., z]), aspect=aspect, cmap="gray", vmin=low, vmax=high)
                outline(axis, None if truth is None else truth[..., z], pred[..., z])
            if probability is not None:
                plane = radiological(probability[..., z])
                shown = line[-1].imshow(plane, aspect=aspect, cmap="inferno", vmin=0, vmax=1)
            for axis in line:
                axis.set(xticks=[], yticks=[])
            line[0].set_ylabel(case.view.number(2, z + (part[2].start or 0)), fontsize=9)
            mark_right(line[0])
        for axis, name in zip(axes[0], columns):
            axis.set_title(name, fontsize=9)
        if probability is not None:
            figure.colorbar(shown, ax=axes[:, -1], shrink=0.6)
        ml = float(np.prod(case.view.spacing)) / 1000
        whole = None if case.truth is None else case.truth > 0
        figure.suptitle(f"{case.title}\n{outline_legend(whole, case.pred > 0, ml)}", fontsize=10)
        figure.supxlabel(NUMBERING, fontsize=7)
        with whole_file(path) as temporary:
            figure.savefig(temporary, dpi=110)
