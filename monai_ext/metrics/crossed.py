"""Mean and interval of what was measured in every patient under several draws of the training patients."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
        x, known, rows = x[known.any(1)], known[known.any(1)], rows[known.any(1)]
        of_patient, *of_draws = draw_counts(seed, (len(x), *[x.shape[1]] * (rows.max() + 1)), num_resamples)
        total = np.zeros((2, num_resamples))
        for fold, of_draw in enumerate(of_draws):
            own = rows == fold
            for line, part in enumerate((np.where(known, x, 0.0), known)):
                total[line] += ((of_patient[:, own] @ part[own]) * of_draw).sum(1)
        with np.errstate(invalid="ignore"):
            means = total[0] / total[1]
        low, high = np.nanquantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return CrossedSummary(mean=mean, ci_low=float(low), ci_high=float(high), patients=patients, draws=draws)


@lru_cache(maxsize=16)
def draw_counts(seed: int, numbers: tuple[int, ...], num_resamples: int) -> list[NDArray[np.float64]]:
    """How often each of some patients, or draws, is taken in each resample, ``[R, N]`` for each of the numbers."""
    rng = np.random.default_rng(seed)
    taken = [[rng.integers(n, size=max(1, n - 1)) for n in numbers] for _ in range(num_resamples)]
    return [_count(np.array([one[k] for one in taken], dtype=np.int64), n) for k, n in enumerate(numbers)]


def _count(picks: NDArray[np.int64], number: int) -> NDArray[np.float64]:
    """How often each index is in each row of ``picks``."""
    places = picks.T + number * np.arange(len(picks))
    return np.bincount(places.ravel(), minlength=number * len(picks)).reshape(-1, number).astype(np.float64)
