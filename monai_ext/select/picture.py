"""A picture of a choice: the set in two dimensions, and a slice of each chosen patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from monai_ext.data.io.whole_file import whole_file
from monai_ext.handlers.segmentation_preview import mark_right, radiological

__all__ = ["draw_choice", "principal_plane"]

CHOSEN, LABELLED, OUTLIER, OTHER = "#ff9f1c", "#2a6fdb", "#d7263d", "#9aa5b1"
MOST_SLICES, MOST_OUTLIERS, MOST_LINES = 12, 4, 400


def principal_plane(features: NDArray[Any], weight: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Points on the plane in which those of some of them lie furthest apart.

    Args:
        features: ``[N, D]``.
        weight: bool ``[N]``, the points that decide the plane.

    Returns:
        ``[N, 2]``, and the share of their variance that the plane shows. Signs are such that the furthest points lie
        to the right and on top.
    """
    centred = features - features[weight].mean(0)
    _, lengths, axes = np.linalg.svd(centred[weight], full_matrices=False)
    places = centred @ axes[:2].T
    places = np.pad(places, ((0, 0), (0, 2 - places.shape[1])))
    furthest = places[np.abs(places).argmax(0), [0, 1]]
    total = float((lengths**2).sum())
    return places * np.where(furthest < 0, -1, 1), float((lengths[:2] ** 2).sum()) / total if total else 1.0


def draw_choice(
    path: Path,
    features: NDArray[Any],
    chosen: Sequence[int],
    labelled: Sequence[int],
    outliers: Sequence[int],
    names: Sequence[str],
    slices: Mapping[int, Mapping[str, NDArray[Any]]],
    title: str,
) -> None:
    """Draw the map of a set, in which each patient is tied to the nearest chosen one, and slices beside it.

    Args:
        path: of the PNG.
        features: ``[N, D]``.
        chosen: patients in the order of the choice.
        labelled: patients with a label.
        outliers: patients far from all others.
        names: of the patients.
        slices: ``slice`` ``[X, Y]`` and ``pixel`` of the chosen and of some outliers.
        title: of the picture.
    """
    typical = np.ones(len(features), dtype=bool)
    typical[list(outliers)] = len(outliers) == len(features)
    places, share = principal_plane(features, typical)
    shown = [index for index in chosen if index in slices][:MOST_SLICES]
    strange = [index for index in outliers if index in slices and index not in chosen][:MOST_OUTLIERS]
    columns = 3 if len(shown) + len(strange) > 4 else 2
    rows = max(1, -(-len(shown) // columns) + -(-len(strange) // columns))
    figure = Figure(figsize=(6.4 + 1.9 * columns, max(5.6, 2.1 * rows + 0.6)), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[6.4, 1.9 * columns])
    _draw_map(left.subplots(), features, places, chosen, labelled, outliers)
    left.axes[0].set_title(f"map of the patients ({share:.0%} of their variance)", fontsize=10)
    axes = right.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for number, (axis, index) in enumerate(zip(axes.flat, shown)):
        _draw_slice(axis, slices[index], f"{number + 1}: {names[index]}", CHOSEN)
    first = columns * -(-len(shown) // columns)
    for axis, index in zip(axes.flat[first:], strange):
        _draw_slice(axis, slices[index], names[index], OUTLIER)
        axis.title.set_color(OUTLIER)
    figure.suptitle(title, fontsize=11)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _draw_map(
    axis: Axes,
    features: NDArray[Any],
    places: NDArray[np.float64],
    chosen: Sequence[int],
    labelled: Sequence[int],
    outliers: Sequence[int],
) -> None:
    taken = [*chosen, *labelled]
    others = [i for i in range(len(places)) if i not in {*taken, *outliers}]
    for index in others if len(others) <= MOST_LINES and taken else ():
        nearest = taken[int(((features[taken] - features[index]) ** 2).sum(1).argmin())]
        axis.plot(*places[[index, nearest]].T, color=OTHER, linewidth=0.6, alpha=0.45, zorder=1)
    axis.scatter(places[others, 0], places[others, 1], s=18, color=OTHER, label="patient", zorder=2)
    kinds = ((labelled, "s", LABELLED, "labelled", 42), (outliers, "X", OUTLIER, "outlier", 52))
    for indices, marker, color, label, size in kinds:
        if indices:
            axis.scatter(
                places[list(indices), 0],
                places[list(indices), 1],
                s=size,
                marker=marker,
                color=color,
                label=label,
                zorder=3,
            )
    at = places[list(chosen)]
    axis.scatter(at[:, 0], at[:, 1], s=190, color=CHOSEN, edgecolor="black", label="chosen", zorder=4)
    for number, index in enumerate(chosen):
        axis.annotate(str(number + 1), places[index], ha="center", va="center", fontsize=9, zorder=5)
    axis.set(xticks=[], yticks=[], xlabel="first principal component", ylabel="second")
    _keep_in_view(axis, places, [i for i in range(len(places)) if i not in outliers or i in taken])
    axis.legend(loc="best", fontsize=8, framealpha=0.85, markerscale=0.7)


def _keep_in_view(axis: Axes, places: NDArray[np.float64], inner: Sequence[int]) -> None:
    """Limits that hold the inner points; of the others, those that lie within twice their range."""
    low, high = places[list(inner)].min(0), places[list(inner)].max(0)
    span = np.maximum(high - low, 1e-6)
    near = places[((places > low - span) & (places < high + span)).all(1)]
    low, high = near.min(0) - 0.06 * span, near.max(0) + 0.06 * span
    axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))


def _draw_slice(axis: Axes, found: Mapping[str, NDArray[Any]], title: str, color: str) -> None:
    plane, (right, front) = found["slice"], (float(mm) for mm in found["pixel"])
    axis.axis("on")
    axis.imshow(radiological(plane), cmap="gray", vmin=0, vmax=1, aspect=front / right)
    axis.set(xticks=[], yticks=[])
    axis.set_title(title if len(title) < 24 else f"{title[:22]}...", fontsize=8)
    for spine in axis.spines.values():
        spine.set(color=color, linewidth=2)
    mark_right(axis)
