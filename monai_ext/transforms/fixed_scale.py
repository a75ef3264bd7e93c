"""Intensities that are quantities (HU, SUV), scaled by numbers of the whole data set."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["FixedScale"]


class FixedScale(NamedTuple):
    """(clip(x, low, high) - mean) / std, with the same four numbers for every scan.

    nnU-Net takes the percentiles 0.5 and 99.5, the mean and the standard deviation of the voxels inside the labels of
    all training cases, for CT (Isensee et al. 2021). A value then means the same whatever else the scan shows.
    """

    low: float
    high: float
    mean: float
    std: float

    def __call__(self, values: Tensor) -> Tensor:
        """Values of any shape, scaled.

        Raises:
            ValueError: when the range is empty or the standard deviation not positive.
        """
        if not self.low < self.high or not self.std > 0:
            raise ValueError(f"low < high and std > 0 are expected, got {self}")
        return (values.clamp(self.low, self.high) - self.mean) / self.std
