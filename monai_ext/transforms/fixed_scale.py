"""Intensities that are quantities (HU, SUV), scaled by numbers of the whole data set."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["FixedScale"]


class FixedScale(NamedTuple):
    """(clip(x, low, high) - mean) / std, with the same numbers for every scan; with ``log``, of ln(1 + x).

    nnU-Net takes the percentiles 0.5 and 99.5, the mean and the standard deviation of the voxels inside the labels of
    all training cases, for CT (Isensee et al. 2021). A value then means the same whatever else the scan shows.

    The logarithm is for uptake, which is spread about as a log-normal variable (Thie et al., J Nucl Med 41, 2000,
    1664-1672): a lesion is a multiple of what surrounds it, be its SUV 1 or 15.

    Example:
        >>> import torch
        >>> scale = FixedScale(0, 15, mean=1, std=0.5, log=True)
        >>> scale(torch.tensor([0.0, 1.0, 3.0, 7.0]))  # each doubling of 1 + SUV adds as much
        tensor([-2.0000, -0.6137,  0.7726,  2.1589])
    """

    low: float
    high: float
    mean: float
    std: float
    log: bool = False

    def __call__(self, values: Tensor) -> Tensor:
        """Values of any shape, scaled.

        Raises:
            ValueError: when the range is empty, begins below 0 with ``log``, or the standard deviation is not positive.
        """
        if not self.low < self.high or not self.std > 0 or (self.log and self.low < 0):
            raise ValueError(f"low < high and std > 0 are expected, and low >= 0 with log, got {self}")
        values = values.clamp(self.low, self.high)
        return ((values.log1p() if self.log else values) - self.mean) / self.std
