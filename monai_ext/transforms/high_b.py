"""A high b-value image and an ADC map from two measured b-values."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Transform
from torch import Tensor

from monai_ext.errors import DataError

__all__ = ["HighBValued", "extrapolate_b_value"]


def extrapolate_b_value(low: Tensor, high: Tensor, b_low: float, b_high: float, b: float) -> tuple[Tensor, Tensor]:
    """Signal at another b-value under mono-exponential decay S(b) = S0 exp(-b ADC).

    ADC = ln(S_low / S_high) / (b_high - b_low) and S_b = S_high exp(-(b - b_high) ADC) (prostate MAE, A.1). Noise can
    make a signal zero or negative, or make it grow with b. The decay is unknown there and ADC is set to 0, so that S_b
    = max(S_high, 0): no voxel becomes infinite or brighter than in the measured image.

    Args:
        low: signal at ``b_low``, any shape.
        high: signal at ``b_high``, same shape.
        b_low: lower b-value in s/mm2.
        b_high: higher b-value in s/mm2.
        b: b-value to compute, in s/mm2.

    Returns:
        the signal at ``b`` and the ADC in mm2/s.

    Raises:
        ValueError: unless ``b_low < b_high``.
    """
    if not b_low < b_high:
        raise ValueError(f"b_low must be below b_high, got {b_low} and {b_high}")
    known = (low > 0) & (high > 0)
    ratio = torch.where(known, low, torch.ones_like(low)) / torch.where(known, high, torch.ones_like(high))
    adc = (ratio.log() / (b_high - b_low)).clamp(min=0)
    return high.clamp(min=0) * torch.exp(-(b - b_high) * adc), adc


class HighBValued(Transform):
    """Compute the high-b image and the ADC map of items that have only two measured b-values.

    Args:
        low: key of the image at ``b_low``.
        high: key of the image at ``b_high``, on the same grid.
        b_low: low b-value in s/mm2.
        b_high: high b-value in s/mm2.
        b: b-value of the image to compute, in s/mm2.
        out: key of the high-b image; an existing image is kept, as an existing ``adc`` (1e-6 mm2/s) is.

    Raises:
        DataError: the two images are on different grids.
    """

    def __init__(
        self,
        low: str = "dwi_b50",
        high: str = "dwi_b1000",
        b_low: float = 50,
        b_high: float = 1000,
        b: float = 1500,
        out: str = "hbv",
    ) -> None:
        self.low, self.high, self.out = low, high, out
        self.b_low, self.b_high, self.b = b_low, b_high, b

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add ``out`` and ``adc`` if they are missing."""
        item = dict(data)
        wanted = [key for key in (self.out, "adc") if key not in item]
        if not wanted or self.low not in item or self.high not in item:
            return item
        low, high = item[self.low], item[self.high]
        if low.shape != high.shape or not torch.allclose(low.affine, high.affine, atol=1e-3):
            raise DataError(
                f"{self.low} and {self.high} are on different grids",
                "Resample one onto the other, or give the high-b image itself.",
                item.get("id"),
                high.meta.get("filename_or_obj"),
            )
        signal, adc = extrapolate_b_value(low.as_tensor(), high.as_tensor(), self.b_low, self.b_high, self.b)
        for key, values in ((self.out, signal), ("adc", adc * 1e6)):
            if key in wanted:
                item[key] = MetaTensor(values, affine=high.affine.clone(), meta=dict(high.meta))
        return item
