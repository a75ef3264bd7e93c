"""AUROC, AP and their mean over patients and draws, from the lesion candidates of every case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from monai_ext.metrics.crossed import CrossedSummary, draw_counts

__all__ = [
    "CANDIDATES",
    "DETECTION_METRICS",
    "Candidates",
    "Run",
    "read_candidates",
    "summarize_detections",
    "write_candidates",
]

DETECTION_METRICS = ("auroc", "ap", "score")
CANDIDATES = "candidates"  # column of cases.csv, see write_candidates

#: Of one case: whether each candidate is a lesion, and its confidence; 0 for a lesion that has no candidate.
Candidates = Sequence[tuple[bool, float]]
#: One training: the candidates of every case of every patient.
Run = Mapping[str, Sequence[Candidates]]


def write_candidates(candidates: Candidates) -> str:
    """As text, for a table; :func:`read_candidates` reads it.

    Example:
        >>> from monai_ext.metrics.crossed_detection import write_candidates
        >>> write_candidates([(True, 0.834567), (False, 0.2)])
        '1:0.834567 0:0.2'
    """
    return " ".join(f"{int(lesion)}:{confidence:.6g}" for lesion, confidence in candidates)


def read_candidates(text: str) -> list[tuple[bool, float]]:
    """Candidates that :func:`write_candidates` wrote."""
    parts = (one.split(":") for one in text.split())
    return [(lesion == "1", float(confidence)) for lesion, confidence in parts]


def summarize_detections(
    draws: Sequence[Sequence[Run]],
    others: Sequence[Sequence[Run]] | None = None,
    confidence: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, CrossedSummary]:
    """PI-CAI's AUROC, AP and score, or the differences of two methods, with a bootstrap over patients and draws.

    These are values of a set, not means of values of its patients, so they are computed anew for each resample: of the
    same patients and draws for both methods. A value is the mean over the seeds of a draw, then over the draws. What is
    resampled is told at :func:`monai_ext.metrics.summarize_crossed`.

    Args:
        draws: the trainings of each draw of the labelled patients, one for each seed.
        others: those of another method, in the same order; None for the values themselves. Patients are those whom all
            trainings have.
        confidence: coverage of the interval.
        num_resamples: number of bootstrap resamples.
        seed: of the resampling.

    Returns:
        ``auroc``, ``ap`` and ``score``; NaN where the cases do not define them. Resamples without a lesion, or with
        nothing but lesions, are left out of the intervals.

    Example:
        >>> from monai_ext.metrics import summarize_detections
        >>> run = {"a": [[(True, 0.9)]], "b": [[(False, 0.4)]], "c": [[]], "d": [[(True, 0.6), (False, 0.7)]]}
        >>> found = summarize_detections([[run]])
        >>> found["auroc"]["mean"], round(found["ap"]["mean"], 3)  # AP: 1/2 at a precision of 1, 1/2 at 2/3
        (1.0, 0.833)
    """
    both = [draws] if others is None else [draws, others]
    runs = [run for method in both for seeds in method for run in seeds]
    patients = [patient for patient in (runs[0] if runs else ()) if all(patient in run for run in runs)]
    nothing = CrossedSummary(mean=np.nan, ci_low=np.nan, ci_high=np.nan, patients=0, draws=0)
    if not patients:
        return dict.fromkeys(DETECTION_METRICS, nothing)
    counts = draw_counts(seed, (len(patients), len(draws)), num_resamples)
    # The first line is the set itself, the others are its resamples.
    weights, of_draw = (np.concatenate([np.ones((1, count.shape[1])), count]) for count in counts)
    of_draw /= of_draw.sum(1, keepdims=True)
    total = np.zeros((1 + num_resamples, len(DETECTION_METRICS)))
    for sign, method in zip((1.0, -1.0), both):
        for number, seeds in enumerate(method):
            values = [_values([run[patient] for patient in patients], weights) for run in seeds]
            total += sign * of_draw[:, number, None] * np.mean(values, axis=0)
    found = {}
    for column, name in enumerate(DETECTION_METRICS):
        sampled = total[1:, column][~np.isnan(total[1:, column])]
        low, high = np.nan, np.nan
        if len(patients) > 1 and len(sampled):
            low, high = np.quantile(sampled, [(1 - confidence) / 2, (1 + confidence) / 2])
        mean = float(total[0, column])
        found[name] = CrossedSummary(
            mean=mean, ci_low=float(low), ci_high=float(high), patients=len(patients), draws=len(draws)
        )
    return found


def _values(patients: Sequence[Sequence[Candidates]], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """AUROC, AP and score ``[R, 3]`` of patients with weights ``[R, P]``."""
    cases = [(number, case) for number, cases in enumerate(patients) for case in cases]
    scores = np.array([max((c for _, c in case), default=0.0) for _, case in cases])
    positive = np.array([any(lesion for lesion, _ in case) for _, case in cases], dtype=bool)
    owner = np.array([number for number, _ in cases], dtype=int)
    with np.errstate(invalid="ignore", divide="ignore"):
        hits, misses = _by_value(scores, positive, weights[:, owner])
        below = np.cumsum(misses[:, ::-1], 1)[:, ::-1] - misses
        auroc = (hits * (below + misses / 2)).sum(1) / (hits.sum(1) * misses.sum(1))

        listed = [(number, lesion, c) for number, case in cases for lesion, c in case]
        confidence = np.array([c for _, _, c in listed], dtype=float)
        lesion = np.array([lesion for _, lesion, _ in listed], dtype=bool)
        owner = np.array([number for number, _, _ in listed], dtype=int)
        hits, misses = _by_value(confidence, lesion, weights[:, owner])
        precision = np.cumsum(hits, 1) / np.cumsum(hits + misses, 1)
        found = np.nan_to_num(precision) * hits
        found[:, np.unique(confidence)[::-1] == 0] = 0  # lesions that no candidate has found
        ap = found.sum(1) / hits.sum(1)
    return np.stack([auroc, ap, (auroc + ap) / 2], axis=1)


def _by_value(
    values: NDArray[np.float64], positive: NDArray[np.bool_], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weights ``[2, R, V]`` of the positives and of the others at each of V values, the highest first."""
    order = np.argsort(-values, kind="stable")
    starts = np.flatnonzero(np.diff(-values[order], prepend=-np.inf))
    if not len(starts):
        return np.zeros((2, len(weights), 0))
    return np.stack([np.add.reduceat(weights[:, order] * kind[order], starts, 1) for kind in (positive, ~positive)])
