"""Mean and interval of what was measured in every patient under several draws of the training patients."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["CrossedSummary", "summarize_crossed"]


class CrossedSummary(TypedDict):
    """Mean over ``patients`` test patients and ``draws`` draws of the labelled ones, with an interval over both.

    Example:
        >>> from monai_ext.metrics import summarize_crossed
        >>> summarize_crossed([[0.5, 0.5]])["draws"]  # one patient: no interval
        2
    """

    mean: float
    ci_low: float
    ci_high: float
    patients: int
    draws: int


def summarize_crossed(
    values: ArrayLike,
    folds: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    num_resamples: int = 4000,
    seed: int = 0,
) -> CrossedSummary:
    """Mean over test patients and draws of the labelled patients, with a bootstrap that resamples both.

    Another radiologist labels other patients, and another hospital has other cases to segment: an interval over one of
    them alone is too narrow. Patients and draws are resampled with replacement and independently (the pigeonhole
    bootstrap, Owen 2007), n - 1 of n, which keeps the variance of few draws (Rao & Wu 1988), and draws within each
    fold, because a fold has draws of its own. For two methods give the differences, patient by patient and draw by
    draw. Where draws matter more than patients, few of them make the interval too narrow still: simulated, 95 % of the
    intervals become 84 % with 3 draws and 92 % with 20.

    Args:
        values: ``[P, D]``, one row for each patient, one column for each draw; the mean of its seeds. NaN is left out.
        folds: of each patient; by default one fold.
        confidence: coverage of the interval.
        num_resamples: number of bootstrap resamples.
        seed: of the resampling; the same values and seed give the same interval.

    Returns:
        Mean of all values, interval, and how many patients and draws have any. With one patient, or no value, the
        interval is NaN; with one draw it is over patients alone.

    Raises:
        ValueError: ``values`` is no matrix, there is not one fold for each row, or the confidence is not between 0
            and 1.

    Example:
        >>> from monai_ext.metrics import summarize_crossed
        >>> gain = [[0.02, 0.04], [0.01, 0.03], [0.03, 0.05]]  # three patients, two draws
        >>> found = summarize_crossed(gain)
        >>> round(found["mean"], 3), found["patients"], found["draws"], found["ci_low"] > 0
        (0.03, 3, 2, True)
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 2:
        raise ValueError(f"values must be patients x draws, got shape {x.shape}")
    rows = np.zeros(len(x), dtype=int) if folds is None else np.unique(list(map(str, folds)), return_inverse=True)[1]
    if len(rows) != len(x):
        raise ValueError(f"{len(rows)} folds for {len(x)} patients")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    known = ~np.isnan(x)
    patients, draws = int(known.any(1).sum()), int(known.any(0).sum())
    if not patients:
        return CrossedSummary(mean=np.nan, ci_low=np.nan, ci_high=np.nan, patients=0, draws=0)
    mean, low, high = float(x[known].mean()), np.nan, np.nan
    if patients > 1:
        rng = np.random.default_rng(seed)
        x, known, rows = x[known.any(1)], known[known.any(1)], rows[known.any(1)]
        filled, count = np.where(known, x, 0.0), known.astype(np.float64)
        means = np.empty(num_resamples)
        for number in range(num_resamples):
            of_patient = draw_counts(rng, len(x))
            of_draw = np.stack([draw_counts(rng, x.shape[1]) for _ in range(rows.max() + 1)])[rows]
            weight = of_patient[:, None] * of_draw
            total = (weight * count).sum()
            means[number] = (weight * filled).sum() / total if total else np.nan
        low, high = np.nanquantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return CrossedSummary(mean=mean, ci_low=float(low), ci_high=float(high), patients=patients, draws=draws)


def draw_counts(rng: np.random.Generator, number: int) -> np.ndarray:
    """How often each of some patients, or draws, is taken in a resample."""
    return np.bincount(rng.integers(number, size=max(1, number - 1)), minlength=number)
