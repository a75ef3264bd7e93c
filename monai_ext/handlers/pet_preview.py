"""Pictures of a PET/CT as readers look at it: projections in SUV, and the lesions on slices fused with the CT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from monai.data import MetaTensor
from numpy.typing import NDArray

from monai_ext.data.io.pet import read_pet
from monai_ext.data.io.whole_file import whole_file
from monai_ext.handlers.case_preview import MAX_CASES, CasePreview, ShownCase
from monai_ext.handlers.scan_view import chosen_slices
from monai_ext.handlers.segmentation_preview import (
    NUMBERING,
    PREDICTION,
    mark_right,
    outline,
    outline_legend,
    radiological,
)
from monai_ext.metrics import lesion_uptake, numbered_lesions
from monai_ext.transforms.fixed_scale import FixedScale
from monai_ext.transforms.petct import CT_SCALE

__all__ = ["PETPreview"]

CT, PET = 0, 1  # channels of the image
SOFT_TISSUE = (-160.0, 240.0)  # HU
ROWS, LISTED = 3, 6  # of slices, and of lesions in the table
Array = NDArray[Any]


class PETPreview(CasePreview):
    """One PNG per case: coronal and sagittal maximum-intensity projections, and slices fused with the CT.

    The PET is read again from its file, because the network saw clipped SUV; all is drawn on its grid. Lesions have the
    numbers of :func:`~monai_ext.metrics.numbered_lesions`, which :class:`LesionReport` has too. Slices are those of the
    SUVmax of the largest lesions, of the largest lesion that was missed where the truth is known, and then some apart
    from these.

    Args:
        folder: folder of the pictures.
        max_cases: largest number of cases to draw.
        window: SUV of white and of black.
        scales: see :class:`~monai_ext.transforms.PETCTPreprocessing`; they tell HU from the image's values.
    """

    def __init__(
        self,
        folder: str,
        max_cases: int = MAX_CASES,
        window: tuple[float, float] = (0.0, 10.0),
        scales: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        super().__init__(folder, max_cases, own_channel=PET)
        self.window = window
        self.ct_scale = FixedScale(*scales["ct"]) if scales and "ct" in scales else CT_SCALE

    def read(self, path: Path) -> MetaTensor:
        """The PET in SUV."""
        return read_pet(path)

    def draw(self, case: ShownCase, path: Path) -> None:
        """See :class:`CasePreview`."""
        view, pet, pred = case.view, case.image[PET], case.pred > 0
        truth = None if case.truth is None else case.truth > 0
        ct = case.image[CT] * self.ct_scale.std + self.ct_scale.mean if np.ptp(case.image[CT]) > 0 else None
        own = view.own(pred)  # numbers depend on the order of the file
        spacing = np.linalg.norm(view.affine[:3, :3], axis=0).tolist()
        found = lesion_uptake(own, view.own(pet), spacing)
        numbers = view.ras(numbered_lesions(own))
        figure = Figure(figsize=(15, 8.4), layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=[6, 8])
        projections, table = left.subfigures(2, 1, height_ratios=[4, 1])
        self._projections(projections, case, pred, truth, numbers)
        table.text(0.05, 0.98, _table(found), fontsize=8, family="monospace", va="top")
        right.supxlabel(NUMBERING, fontsize=7)
        self._slices(right, case, ct, pred, truth, numbers)
        ml = float(np.prod(view.spacing)) / 1000
        figure.suptitle(f"{case.title}   {outline_legend(truth, pred, ml)}", fontsize=11)
        with whole_file(path) as temporary:
            figure.savefig(temporary, dpi=100)

    def _projections(
        self, figure: SubFigure, case: ShownCase, pred: Array, truth: Array | None, numbers: Array
    ) -> None:
        """Coronal and sagittal projections, dark where the uptake is high."""
        pet, (x, y, z) = case.image[PET], case.view.spacing
        axes = figure.subplots(1, 2, width_ratios=[pet.shape[0] * x, pet.shape[1] * y])
        for axis, (name, along, aspect) in zip(axes, (("coronal", 1, z / x), ("sagittal", 0, z / y))):
            low, high = self.window
            shown = axis.imshow(radiological(pet.max(along)), cmap="gray_r", vmin=low, vmax=high, aspect=aspect)
            outline(axis, None if truth is None else truth.max(along), pred.max(along))
            for number in range(1, min(int(numbers.max()), LISTED) + 1):
                _name(axis, (numbers == number).any(along), number)
            axis.set(xticks=[], yticks=[])
            axis.set_title(f"{name} projection", fontsize=9)
        mark_right(axes[0])
        figure.colorbar(shown, ax=list(axes), shrink=0.6, label="SUV (g/ml)", extend="max", location="right")

    def _slices(
        self, figure: SubFigure, case: ShownCase, ct: Array | None, pred: Array, truth: Array | None, numbers: Array
    ) -> None:
        """CT, PET and both, axial, and both coronal, through the places that a reader looks at."""
        places = self._places(case.image[PET], pred, truth, numbers)
        (x, y, z), view = case.view.spacing, case.view
        columns = ["PET, axial", "PET, coronal"] if ct is None else ["CT", "PET", "fused, axial", "fused, coronal"]
        axes = figure.subplots(len(places), len(columns), squeeze=False)
        for line, (name, place) in zip(axes, places):
            axial, coronal = np.s_[:, :, place[2]], np.s_[:, place[1], :]
            drawn = [(axial, y / x, c != "PET", c != "CT") for c in columns[:-1]] + [(coronal, z / x, True, True)]
            for axis, (plane, aspect, with_ct, with_pet) in zip(line, drawn):
                self._plane(
                    axis, ct[plane] if ct is not None and with_ct else None, case.image[PET][plane], aspect, with_pet
                )
                outline(axis, None if truth is None else truth[plane], pred[plane])
                axis.set(xticks=[], yticks=[])
            line[0].set_ylabel(f"{name}\n{view.number(2, place[2])}".strip(), fontsize=9)
            line[-1].set_xlabel(view.number(1, place[1]), fontsize=8)
            mark_right(line[0])
        for axis, column in zip(axes[0], columns):
            axis.set_title(column, fontsize=9)
        if ct is not None:
            colours = ScalarMappable(Normalize(*self.window), "hot")
            figure.colorbar(colours, ax=axes[:, -1], shrink=0.5, label="SUV (g/ml), fused", extend="max")

    def _plane(self, axis: Axes, ct: Array | None, pet: Array, aspect: float, with_pet: bool) -> None:
        low, high = self.window
        if ct is None:
            axis.imshow(radiological(pet), cmap="gray_r", vmin=low, vmax=high, aspect=aspect)
            return
        axis.imshow(radiological(ct), cmap="gray", vmin=SOFT_TISSUE[0], vmax=SOFT_TISSUE[1], aspect=aspect)
        if with_pet:
            opacity = np.clip((pet - low) / (0.5 * (high - low)), 0, 0.75)
            axis.imshow(radiological(pet), cmap="hot", vmin=low, vmax=high, aspect=aspect, alpha=radiological(opacity))

    def _places(self, pet: Array, pred: Array, truth: Array | None, numbers: Array) -> list[tuple[str, list[int]]]:
        """What is shown, by a name and a voxel."""
        places = []
        if truth is not None:
            true = numbered_lesions(truth)
            missed = np.setdiff1d(np.unique(true), [0, *np.unique(true[pred])])
            if len(missed):
                places.append(("missed lesion", _hottest(pet, true == missed[0])))
        for number in range(1, int(numbers.max()) + 1)[: ROWS - len(places)]:
            places.append((f"lesion {number}", _hottest(pet, numbers == number)))
        shown = pred if truth is None else pred | truth
        coronal, axial = (self._not_taken(shown, axis, places) for axis in (1, 2))
        if (left := ROWS - len(places)) and (axial.any() or not places):
            for y, z in zip(chosen_slices([coronal], left), chosen_slices([axial], left)):
                places.append(("", [pet.shape[0] // 2, y, z]))
        return places

    def _not_taken(self, shown: Array, axis: int, places: Sequence[tuple[str, list[int]]]) -> Array:
        """Area of lesions on the slices across an axis, but 0 on those beside the places that are shown already."""
        area = shown.sum(tuple({0, 1, 2} - {axis})).astype(float)
        for _, place in places:
            area[max(place[axis] - 1, 0) : place[axis] + 2] = 0
        return area


def _hottest(pet: Array, where: Array) -> list[int]:
    """The voxel of the highest SUV of a lesion."""
    return [int(i) for i in np.unravel_index(np.where(where, pet, -np.inf).argmax(), pet.shape)]


def _name(axis: Axes, plane: Array, number: int) -> None:
    """Write a lesion's number beside it."""
    rows, columns = np.nonzero(radiological(plane))
    place = (columns.max() + 0.5, rows.min() - 0.5)
    axis.annotate(
        str(number), place, xytext=(2, 2), textcoords="offset points", color=PREDICTION, fontsize=9, weight="bold"
    )


def _table(found: Mapping[str, Any]) -> str:
    """The lesions as lines of text."""
    lines = ["lesion     MTV ml  SUVmax  SUVpeak  SUVmean  TLG ml"]
    for one in found["lesions"][:LISTED]:
        lines.append(_line(str(one["number"]), one))
    if (more := len(found["lesions"]) - LISTED) > 0:
        lines.append(f"and {more} more")
    return "\n".join([*lines, *([_line("all", found)] if found["lesions"] else ["none"])])


def _line(name: str, one: Mapping[str, Any]) -> str:
    values = one["volume_ml"], one["suv_max"], one["suv_peak"], one["suv_mean"], one["tlg_ml"]
    return "{:<8}{:9.2f}{:8.2f}{:9.2f}{:9.2f}{:8.1f}".format(name, *values)
