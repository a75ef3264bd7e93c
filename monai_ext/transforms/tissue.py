"""Where an image shows tissue, in scans whose air is noise and not 0."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["otsu_threshold", "tissue_mask", "tissue_statistics"]


def otsu_threshold(values: Tensor, bins: int = 256) -> float:
    """The threshold that separates two classes of values best: largest variance between them (Otsu 1979).

    Args:
        values: finite, of any shape.
        bins: of the histogram.

    Returns:
        The upper edge of the last bin of the lower class; the value itself where all are equal.
    """
    counts, edges = np.histogram(values.numpy(), bins)
    if edges[0] == edges[-1] or (counts > 0).sum() < 2:
        return float(values.min())
    centres, below = (edges[1:] + edges[:-1]) / 2, np.cumsum(counts)[:-1].astype(float)
    total, sums = float(counts.sum()), np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (sums[-1] * below / total - sums[:-1]) ** 2 / (below * (total - below))
    return float(edges[1 + int(np.nanargmax(between))])


def tissue_statistics(values: Tensor) -> tuple[float, float, float]:
    """Mean and standard deviation of the values above Otsu's threshold, and a floor below which all is air.

    Where air is noise, "all that is not 0" is half air, and how much of it a field of view holds would set the scale of
    the tissue.

    Args:
        values: that are not 0, of any shape.

    Returns:
        Mean, standard deviation (1 where there is none), and the floor: a standard deviation below the threshold.
    """
    threshold = otsu_threshold(values)
    tissue = values[values > threshold]
    if not tissue.numel():
        return float(values.mean()), 1.0, threshold - 1.0
    std = float(tissue.std(correction=0))
    std = std if std > 0 else 1.0
    return float(tissue.mean()), std, threshold - std


def tissue_mask(volume: Tensor) -> Tensor:
    """Where a volume shows tissue: brighter than half-way from the mean of the darker class to Otsu's threshold.

    Half-way, because in a scan without air the darker class is tissue too. Padding, and what a masked image has
    outside, is left out of the two classes: the lowest value, where more than a hundredth of the voxels have it.

    Args:
        volume: finite, of any shape.

    Returns:
        A bool tensor of that shape; all True where all values are equal.
    """
    padded = volume == volume.min()
    if padded.all():
        return padded
    inside = ~padded if float(padded.float().mean()) > 0.01 else torch.ones_like(padded)
    values = volume[inside]
    threshold = otsu_threshold(values)
    dark, bright = values[values <= threshold], values[values > threshold]
    if not bright.numel():
        return inside
    between = (threshold + float(bright.min())) / 2  # the threshold lies at the lower end of a gap
    return inside & (volume > (float(dark.mean()) + between) / 2)
