"""Bring intensities to a common scale: weighted MR by its own statistics, ADC as a physical quantity."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import ClipIntensityPercentiles, MapTransform, NormalizeIntensity
from torch import Tensor

__all__ = ["ClipZScored", "ScaleADCd", "clip_to_signal"]


def clip_to_signal(
    values: Tensor, percentiles: tuple[float, float] = (1.0, 99.0), window: tuple[float, float] | None = None
) -> Tensor:
    """Clip intensities so that 0 stands for background (AMLP, 4.3).

    Args:
        values: finite values of any shape.
        percentiles: percentiles of the non-zero values, to which these are clipped; zero stays zero.
        window: two values to which intensities are clipped instead; the lower one is subtracted. For HU of CT, where
            air is not 0.

    Returns:
        fp32, of the same shape.

    Raises:
        ValueError: when the window is empty.
    """
    values = values.as_subclass(Tensor).float()
    if window is not None:
        low, high = window
        if not low < high:
            raise ValueError(f"the lower end of a window must be below the upper one, got {window}")
        return values.clamp(low, high) - low
    inside = values != 0
    if not inside.any():
        return values
    low, high = np.percentile(values[inside].numpy(), percentiles)
    return torch.where(inside, values.clamp(float(low), float(high)), 0.0)


class ClipZScored(MapTransform):
    """Clip to percentiles of the volume, then zero mean and unit variance over the volume.

    This suits T2W and high-b, whose scale is arbitrary. NaN must be refused before (:class:`LoadVolumed` does). A
    constant volume becomes 0.

    Args:
        keys: volumes ``[1, X, Y, Z]``.
        lower: lower percentile.
        upper: upper percentile.
        allow_missing_keys: skip keys an item does not have.
    """

    def __init__(
        self, keys: KeysCollection, lower: float = 0.5, upper: float = 99.5, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.clip, self.normalize = ClipIntensityPercentiles(lower, upper), NormalizeIntensity()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Normalize ``self.keys`` of one item."""
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = self.normalize(self.clip(item[key]))
        return item


class ScaleADCd(MapTransform):
    """(ADC - center) / width with ADC in 1e-6 mm2/s, so that a value has the same meaning on all scanners.

    Files in 1e-3 mm2/s or in mm2/s are detected by the median of their positive voxels (tissue lies between 300 and
    3000 in 1e-6 mm2/s) and rescaled with a warning. A volume whose median then lies outside 200 to 3500, or with more
    than 1 % negative voxels, does not look like an ADC map and gives a warning.

    Args:
        keys: ADC maps ``[1, X, Y, Z]``.
        center: centre in 1e-6 mm2/s.
        width: width in 1e-6 mm2/s.
        limits: limits in 1e-6 mm2/s to which values are clipped first. Free water at body temperature has 3000; values
            far above are noise.
        allow_missing_keys: skip keys an item does not have.
    """

    def __init__(
        self,
        keys: KeysCollection = "adc",
        center: float = 1200,
        width: float = 500,
        limits: tuple[float, float] = (0, 4000),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.center, self.width, self.limits = center, width, tuple(limits)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Scale ``self.keys`` of one item."""
        item = dict(data)
        for key in self.key_iterator(item):
            adc = item[key].float()
            where = f"case {item.get('id')}: {adc.meta.get('filename_or_obj', key)}"
            positive = adc.as_tensor()[adc.as_tensor() > 0]
            median = positive.median().item() if len(positive) else 0.0
            factor, unit = (1.0, "") if median > 50 else (1e3, "1e-3 mm2/s") if median > 0.05 else (1e6, "mm2/s")
            if factor > 1 and median > 0:
                warnings.warn(f"{where}: taken as {unit}, because its median is {median:.3g}", stacklevel=2)
            negative = (adc.as_tensor() < 0).float().mean().item()
            if not 200 <= median * factor <= 3500 or negative > 0.01:
                found = f"median {median * factor:.4g}e-6 mm2/s, {negative:.1%} negative"
                warnings.warn(f"{where}: this does not look like an ADC map ({found})", stacklevel=2)
            item[key] = (torch.clamp(adc * factor, *self.limits) - self.center) / self.width
        return item
