"""Pictures of a PET as maximum-intensity projections, which readers look at first, with the lesions outlined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from monai_ext.data.io.whole_file import whole_file
from monai_ext.handlers.case_preview import CasePreview
from monai_ext.handlers.segmentation_preview import PREDICTION, TRUTH, mark_right, radiological

__all__ = ["ProjectionPreview", "draw_projections"]

VIEWS = (("coronal", 1), ("sagittal", 0))  # and the axis (RAS) that is projected along


class ProjectionPreview(CasePreview):
    """One PNG per case: coronal and sagittal PET, dark where the uptake is high.

    Args:
        folder: folder of the pictures.
        channel: index of the PET among the channels of the image.
        mean: offset of the image's scale: SUV = value * ``std`` + ``mean``.
        std: factor of the image's scale.
        window: SUV of white and of black; None takes the lowest value and the 99.8th percentile of the projection, for
            images on another scale.
        max_cases: largest number of cases to draw.
    """

    def __init__(
        self,
        folder: str,
        channel: int = 1,
        mean: float = 7.09,
        std: float = 8.01,
        window: tuple[float, float] | None = (0.0, 10.0),
        max_cases: int = 20,
    ) -> None:
        super().__init__(folder, max_cases)
        self.channel, self.mean, self.std, self.window = channel, mean, std, window

    def draw(
        self, image: np.ndarray, pred: Tensor, truth: np.ndarray | None, spacing: list[float], path: Path, title: str
    ) -> None:
        """See :class:`CasePreview`."""
        lesion = (pred.float().argmax(0) > 0).cpu().numpy()
        truth = None if truth is None else truth > 0
        draw_projections(image[self.channel] * self.std + self.mean, lesion, truth, spacing, path, title, self.window)


def draw_projections(
    pet: NDArray[Any],
    lesion: NDArray[np.bool_],
    truth: NDArray[np.bool_] | None,
    spacing: list[float],
    path: Path,
    title: str = "",
    window: tuple[float, float] | None = (0.0, 10.0),
) -> None:
    """Draw both projections with the outlines of prediction and truth, and the predicted volume.

    Args:
        pet: SUV ``[X, Y, Z]``, RAS.
        lesion: bool ``[X, Y, Z]``, the prediction.
        truth: bool ``[X, Y, Z]``, if known.
        spacing: mm of a voxel.
        path: path of the PNG.
        title: title of the picture.
        window: see :class:`ProjectionPreview`.
    """
    extent = [n * mm for n, mm in zip(pet.shape, spacing)]
    widths = [extent[0], extent[1]]
    height = 6.0
    width = max(3.5, height * sum(widths) / extent[2])
    figure = Figure(figsize=(min(width, 12.0), height + 0.6), layout="constrained")
    axes = figure.subplots(1, 2, width_ratios=widths)
    for axis, (view, along) in zip(axes, VIEWS):
        projection = radiological(pet.max(along))
        low, high = window or (float(pet.min()), float(np.percentile(projection, 99.8)))
        aspect = spacing[2] / spacing[1 - along]
        shown = axis.imshow(projection, cmap="gray_r", vmin=low, vmax=max(high, low + 1e-6), aspect=aspect)
        for mask, color in ((truth, TRUTH), (lesion, PREDICTION)):
            if mask is not None and mask.any():
                axis.contour(radiological(mask.max(along)).astype(float), [0.5], colors=color, linewidths=1.0)
        axis.set(xticks=[], yticks=[])
        axis.set_title(view, fontsize=9)
    mark_right(axes[0])
    figure.colorbar(shown, ax=list(axes), shrink=0.5, label="SUV" if window else "")
    ml = float(lesion.sum()) * spacing[0] * spacing[1] * spacing[2] / 1000
    known = "" if truth is None else "green: truth, " if truth.any() else "no lesion in truth, "
    found = f"orange: predicted, {ml:.1f} ml" if lesion.any() else "no lesion predicted"
    figure.suptitle(f"{title}   ({known}{found})", fontsize=10)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=110)
