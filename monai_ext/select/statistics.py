"""What a scan looks like in a few numbers, without any network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from monai_ext.data.entries import Item
from monai_ext.errors import DataError
from monai_ext.plan.dataset_facts import read_case
from monai_ext.transforms.tissue import tissue_mask

__all__ = ["Statistics", "describe_image", "shown_slice"]

QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
LEAST_SUV = 5.0  # that a slice of PET shows as white: one without uptake stays dark
CELLS = 4  # of the coarse image along each axis
ABSOLUTE = ("ct", "pet", "adc")  # modalities whose values mean the same in every scan
Described = dict[str, NDArray[np.float32]]


class Statistics:
    """Statistics of an item's images over its tissue, or over its gland where it has a mask of one.

    Args:
        modalities: keys of the images.
        preprocessing: of the bundle; its ``resolve`` names the files that lie beside an item's first.
        stacked: order of the volumes of a 4-D file ``image``; None = ``modalities``.
    """

    def __init__(
        self, modalities: Sequence[str], preprocessing: Any = None, stacked: Sequence[str] | None = None
    ) -> None:
        self.modalities, self.preprocessing = tuple(modalities), preprocessing
        self.stacked = tuple(stacked) if stacked else None

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the numbers beside the files."""
        return {"statistics": [self.modalities, self.stacked, QUANTILES, CELLS, ABSOLUTE]}

    def __call__(self, item: Item) -> Described:
        """Groups of numbers of an item, and ``slice``, see :func:`describe_image` and :func:`shown_slice`.

        Raises:
            DataError: the item cannot be read, or shows nothing.
        """
        whole = dict(item) if self.preprocessing is None else dict(self.preprocessing.resolve(item))
        whole = {key: value for key, value in whole.items() if key != "label"}
        if whole.get("gland") is not None:
            whole["label"] = whole["gland"]  # read as a mask on the grid of the first image
        images, gland, spacing = read_case(whole, self.modalities, self.stacked)
        for key, values in images.items():
            if values.min() == values.max():
                raise DataError(f"{key} is constant ({values.min():g})", "Export it again.", item.get("id"))
        first = next((key for key in self.modalities if key != "pet"), self.modalities[0])
        mask = tissue_mask(torch.from_numpy(images[first].astype(np.float32))).numpy()
        mask = gland > 0 if gland is not None and (gland > 0).any() else mask
        found = describe_image(images, mask, spacing)
        least = LEAST_SUV if self.modalities[0] == "pet" else -np.inf
        return found | shown_slice(images[self.modalities[0]], mask, spacing, least)


def describe_image(images: Mapping[str, NDArray[Any]], mask: NDArray[np.bool_], spacing: Sequence[float]) -> Described:
    """Numbers in groups: the size of tissue and voxels, and of each modality its intensities and a coarse image.

    Intensities of MR are z-scored over the tissue; those of CT, PET and ADC, which mean the same in every scan, are
    taken as they are in the quantiles. The coarse image is the mean of the z-scored intensities in ``4 x 4 x 4`` cells
    of the tissue's box, so that anatomy and its place count whatever the field of view.

    Args:
        images: by modality, ``[X, Y, Z]``, on one grid.
        mask: of the tissue, on that grid.
        spacing: mm of a voxel.

    Returns:
        ``size``, and by modality ``<key>_values`` and ``<key>_shape``; fp32 vectors.
    """
    box = box_of(mask)
    inside = mask[box]
    extent = [(part.stop - part.start) * mm for part, mm in zip(box, spacing)]
    volume = float(mask.sum()) * float(np.prod(spacing))
    found = {"size": np.log([volume, *extent, *spacing, volume / np.prod(extent)])}
    for key, values in images.items():
        part = values[box].astype(np.float64)
        tissue = part[inside]
        mean, std = float(tissue.mean()), float(tissue.std()) or 1.0
        scored = (part - mean) / std
        quantiles = np.quantile(tissue, QUANTILES)
        found[f"{key}_values"] = quantiles if key in ABSOLUTE else (quantiles - mean) / std
        found[f"{key}_shape"] = _cells(scored)
    return {key: np.asarray(values, dtype=np.float32) for key, values in found.items()}


def box_of(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Bounding box of a mask, the whole where it is empty."""
    if not mask.any():
        return tuple(slice(0, n) for n in mask.shape)
    ends = [np.flatnonzero(mask.any(tuple(b for b in range(mask.ndim) if b != a))) for a in range(mask.ndim)]
    return tuple(slice(int(found[0]), int(found[-1]) + 1) for found in ends)


def _cells(volume: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over ``CELLS`` parts of each axis, ``[CELLS ** 3]``."""
    cells = torch.nn.functional.adaptive_avg_pool3d(torch.from_numpy(volume)[None], CELLS)
    return cells.flatten().numpy()


def shown_slice(
    image: NDArray[Any], mask: NDArray[np.bool_], spacing: Sequence[float], least: float = -np.inf
) -> Described:
    """The axial slice with the most tissue, the middle one of several.

    Args:
        image: ``[X, Y, Z]``.
        mask: of its tissue.
        spacing: mm of a voxel.
        least: value that is white at least.

    Returns:
        ``slice`` ``[X, Y]`` in [0, 1], from the first percentile to nearly the brightest tissue, and ``pixel``, its mm.
    """
    area = mask.sum((0, 1))
    most = np.flatnonzero(area >= 0.95 * area.max())
    z = int(most[len(most) // 2])
    plane, inside = image[:, :, z].astype(np.float32), mask[:, :, z]
    low = float(np.percentile(plane, 1))
    high = max(least, float(np.percentile(plane[inside] if inside.any() else plane, 99.5)))
    shown = np.clip((plane - low) / max(high - low, 1e-6), 0, 1)
    return {"slice": shown.astype(np.float32), "pixel": np.asarray(spacing[:2], dtype=np.float32)}
