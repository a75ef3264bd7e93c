"""Pictures of a segmentation: the modalities, the probability, and the outlines of truth and prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from monai_ext.data.io.whole_file import whole_file
from monai_ext.handlers.case_preview import CasePreview

__all__ = ["SegmentationPreview", "draw_segmentation", "mark_right", "radiological"]

TRUTH, PREDICTION = "#3ddc84", "#ff9f1c"


def radiological(plane: np.ndarray) -> np.ndarray:
    """An axial plane ``[X, Y]`` (RAS) as an image: the patient's right on the left, anterior on top."""
    return plane.T[::-1, ::-1]


def mark_right(axis: Axes) -> None:
    """Write R where the patient's right is."""
    box = {"facecolor": "black", "edgecolor": "none", "pad": 1.5}
    axis.text(0.02, 0.5, "R", transform=axis.transAxes, color="white", fontsize=8, va="center", bbox=box)


class SegmentationPreview(CasePreview):
    """One PNG per case, on the grid of the network.

    Args:
        folder: folder of the pictures.
        channels: names of the modalities.
        max_cases: largest number of cases to draw.
        num_slices: number of axial slices of a case, those with the most lesion in truth and in prediction.
        scales: lowest and highest shown value by the name of a channel, so that cases can be compared; the others are
            scaled to each case.
    """

    def __init__(
        self,
        folder: str,
        channels: Sequence[str],
        max_cases: int = 20,
        num_slices: int = 3,
        scales: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        super().__init__(folder, max_cases)
        self.channels, self.num_slices, self.scales = tuple(channels), num_slices, dict(scales or {})

    def draw(
        self, image: np.ndarray, pred: Tensor, truth: np.ndarray | None, spacing: list[float], path: Path, title: str
    ) -> None:
        """See :class:`CasePreview`."""
        lesion = (1 - pred.softmax(0)[0]).float().cpu().numpy()
        truth = None if truth is None else truth > 0
        aspect = spacing[1] / spacing[0]
        draw_segmentation(image, lesion, truth, self.channels, path, title, self.num_slices, aspect, self.scales)


def chosen_slices(probability: np.ndarray, truth: np.ndarray | None, count: int) -> list[int]:
    """Slices with the most true lesion, the most predicted lesion, then the highest probability; in order of z."""
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
    aspect: float = 1.0,
    scales: Mapping[str, Sequence[float]] | None = None,
) -> None:
    """Draw axial slices in the radiological view, one row per slice; they are numbered from 1, from foot to head.

    Args:
        image: ``[C, X, Y, Z]``, RAS.
        probability: ``[X, Y, Z]`` of lesion.
        truth: bool ``[X, Y, Z]``, if known.
        channels: names of the modalities.
        path: path of the PNG.
        title: title of the picture.
        num_slices: number of slices, one per row.
        aspect: height over width of a pixel.
        scales: see :class:`SegmentationPreview`.
    """
    rows = chosen_slices(probability, truth, num_slices)
    columns = [*channels, "lesion probability"]
    figure = Figure(
        figsize=(2.4 * len(columns), 2.4 * min(max(aspect, 0.5), 2) * len(rows) + 0.7), layout="constrained"
    )
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    fixed = scales or {}
    limits = [fixed.get(name) or np.percentile(channel, [0.5, 99.8]) for name, channel in zip(channels, image)]
    for line, z in zip(axes, rows):
        for c, axis in enumerate(line):
            axis.set_xticks([])
            axis.set_yticks([])
            if c < len(channels):
                low, high = limits[c]
                axis.imshow(radiological(image[c, :, :, z]), aspect=aspect, cmap="gray", vmin=low, vmax=high)
                for mask, color in ((truth, TRUTH), (probability > 0.5, PREDICTION)):
                    if mask is not None and mask[:, :, z].any():
                        axis.contour(radiological(mask[:, :, z]).astype(float), [0.5], colors=color, linewidths=1.2)
            else:
                shown = axis.imshow(radiological(probability[:, :, z]), aspect=aspect, cmap="inferno", vmin=0, vmax=1)
        line[0].set_ylabel(f"slice {z + 1} of {image.shape[-1]}", fontsize=9)
        mark_right(line[0])
    for axis, name in zip(axes[0], columns):
        axis.set_title(name, fontsize=9)
    figure.colorbar(shown, ax=axes[:, -1], shrink=0.6)
    known = "" if truth is None else "green: truth, " if truth.any() else "no lesion in truth, "
    found = "orange: prediction" if (probability > 0.5).any() else "no lesion predicted"
    figure.suptitle(f"{title}   ({known}{found})", fontsize=10)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=110)
