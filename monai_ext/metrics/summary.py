"""Mean and bootstrap confidence interval of per-case or per-slice values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from monai.utils import convert_to_numpy
from numpy.typing import ArrayLike
from torch import Tensor

__all__ = ["Summary", "summarize"]


class Summary(TypedDict):
    """Mean of ``n`` values that come from ``groups`` independent units (patients), with a confidence interval.

    Example:
        >>> from monai_ext.metrics import summarize
        >>> summarize([1.0])
        {'mean': 1.0, 'ci_low': nan, 'ci_high': nan, 'n': 1, 'groups': 1}
    """

    mean: float
    ci_low: float
    ci_high: float
    n: int
    groups: int


def summarize(
    values: Tensor | ArrayLike,
    groups: Tensor | Sequence[object] | None = None,
    confidence: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Summary:
    """Mean with a percentile-bootstrap confidence interval (Efron & Tibshirani 1993, chapters 8.5 and 13.3).

    Slices of one patient resemble each other, so resampling single slices makes the interval too narrow. With
    ``groups`` whole patients are drawn with replacement, and the mean is taken over all values of the drawn patients.

    Args:
        values: one number per case or slice; NaN stands for an undefined value and is left out.
        groups: patient (any hashable id) of each value; by default each value is its own group.
        confidence: coverage of the interval.
        num_resamples: number of bootstrap resamples.
        seed: seed of the resampling; the same values and seed give the same interval.

    Returns:
        ``mean``, ``ci_low``, ``ci_high``, ``n`` (values that are not NaN) and ``groups`` (independent units among
        them). No value at all gives NaN, fewer than two units give a NaN interval.

    Raises:
        ValueError: when there is not one group per value, or the confidence is not between 0 and 1.

    Example:
        >>> from monai_ext.metrics import summarize
        >>> found = summarize([0.5, 0.5, 1.0, 1.0], groups=["a", "a", "b", "b"])  # four slices of two patients
        >>> found["mean"], found["n"], found["groups"], found["ci_low"], found["ci_high"]
        (0.75, 4, 2, 0.5, 1.0)
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    x = np.asarray(convert_to_numpy(values), dtype=np.float64).ravel()
    ids = np.arange(len(x)) if groups is None else np.asarray(convert_to_numpy(groups, wrap_sequence=True)).ravel()
    if len(ids) != len(x):
        raise ValueError(f"{len(ids)} groups for {len(x)} values")

    defined = ~np.isnan(x)
    x, unit = x[defined], np.unique(ids[defined], return_inverse=True)[1]
    if len(x) == 0:
        return Summary(mean=np.nan, ci_low=np.nan, ci_high=np.nan, n=0, groups=0)
    # A resample's mean needs only each unit's sum and number of values.
    total, count = np.bincount(unit, weights=x), np.bincount(unit)
    low = high = np.nan
    if len(count) > 1:
        rng = np.random.default_rng(seed)
        draws = (rng.integers(len(count), size=len(count)) for _ in range(num_resamples))
        means = [total[draw].sum() / count[draw].sum() for draw in draws]
        low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Summary(mean=float(x.mean()), ci_low=float(low), ci_high=float(high), n=len(x), groups=len(count))
