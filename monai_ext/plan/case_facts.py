"""What one case of a data set is: its grid, its classes, and its intensities inside and outside of the labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["CaseFacts", "measure_case"]

MAX_SAMPLES = 20_000  # voxels kept of a case, inside and outside of the labels each; more move no percentile
MAX_COMPONENT_CLASSES = 3  # lesions are counted where there are few classes; organs are one piece each


@dataclass(frozen=True)
class CaseFacts:
    """Measurements of one case whose voxels were read.

    Attributes:
        spacing: mm of a voxel along R, A and S.
        shape: voxels along R, A and S.
        inside: by modality, some voxels inside of the labels; empty without a label.
        outside: by modality, some voxels outside of the labels that are not the image's commonest value (air, padding).
        voxels: of each class above 0.
        centres: of each class, mm from the corner of the volume along R, A and S.
        means: by modality, mean intensity of each class.
        components: ml of each connected lesion (26 neighbours); empty for sets of many classes.
        extent: mm of the box round all labels along R, A and S; None without foreground.
        lesion_slices: share of the axial slices that hold foreground.
        foreground: share of the voxels that are foreground.
        labelled: whether the case has a label at all.
    """

    spacing: tuple[float, float, float]
    shape: tuple[int, int, int]
    labelled: bool
    inside: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    outside: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    voxels: dict[int, int] = field(default_factory=dict)
    centres: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    means: dict[str, dict[int, float]] = field(default_factory=dict)
    components: tuple[float, ...] = ()
    extent: tuple[float, float, float] | None = None
    lesion_slices: float = 0.0
    foreground: float = 0.0


def measure_case(
    images: Mapping[str, NDArray[Any]], label: NDArray[Any] | None, spacing: tuple[float, float, float]
) -> CaseFacts:
    """Measure a case.

    Args:
        images: by modality, ``[X, Y, Z]`` on one grid whose axes are R, A and S.
        label: class indices on the same grid, or None.
        spacing: mm of a voxel.

    Raises:
        ValueError: when shapes differ.
    """
    shapes = {np.shape(values) for values in (*images.values(), *([] if label is None else [label]))}
    if len(shapes) != 1:
        raise ValueError(f"images and label of a case lie on grids of different shape: {sorted(shapes)}")
    shape: Any = shapes.pop()
    fore = np.zeros(shape, dtype=bool) if label is None else np.asarray(label) > 0
    rng = np.random.default_rng(0)
    inside = {name: _sample(values[fore], rng) for name, values in images.items()}
    outside = {name: _sample(_without_air(values[~fore]), rng) for name, values in images.items()}
    if label is None or not fore.any():
        return CaseFacts(spacing, shape, label is not None, {}, outside)
    classes = [int(value) for value in np.unique(label) if value > 0]
    counts = {value: int((label == value).sum()) for value in classes}
    middles = ndimage.center_of_mass(fore, label, classes)
    means = {name: dict(zip(classes, ndimage.mean(values, label, classes))) for name, values in images.items()}
    box = ndimage.find_objects(fore.astype(np.uint8))[0]
    components: tuple[float, ...] = ()
    if len(classes) <= MAX_COMPONENT_CLASSES:
        found, _ = ndimage.label(fore[box], np.ones((3, 3, 3)))
        components = tuple(np.bincount(found.ravel())[1:] * float(np.prod(spacing)) / 1000)
    return CaseFacts(
        spacing=spacing,
        shape=shape,
        labelled=True,
        inside=inside,
        outside=outside,
        voxels=counts,
        centres={value: np.array(middle) * spacing for value, middle in zip(classes, middles)},
        means={name: {value: float(mean) for value, mean in found.items()} for name, found in means.items()},
        components=components,
        extent=tuple((part.stop - part.start) * mm for part, mm in zip(box, spacing)),  # type: ignore[arg-type]
        lesion_slices=float(fore.any((0, 1)).mean()),
        foreground=float(fore.mean()),
    )


def _sample(values: NDArray[Any], rng: np.random.Generator) -> NDArray[np.float32]:
    flat = np.asarray(values).ravel()
    return (flat if len(flat) <= MAX_SAMPLES else rng.choice(flat, MAX_SAMPLES)).astype(np.float32)


def _without_air(values: NDArray[Any]) -> NDArray[Any]:
    """Without the lowest value, where it is common: the air of a masked or padded image."""
    flat = np.asarray(values).ravel()
    if not len(flat):
        return flat
    shown = flat[flat > flat.min()]
    return shown if len(shown) < 0.99 * len(flat) and len(shown) else flat
