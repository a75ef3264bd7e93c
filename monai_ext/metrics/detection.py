"""Detection of significant cancer as PI-CAI scores it: AUROC per case, average precision per lesion, their mean."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any

import numpy as np
from monai.utils import convert_to_numpy
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from monai_ext.errors import BundleError, DataError

__all__ = ["Detection", "Estimate", "evaluate_detection"]

Case = tuple[str, Tensor | ArrayLike, Tensor | ArrayLike]


@dataclass(frozen=True)
class Estimate:
    """A value with the bounds of its 95 % confidence interval; NaN where it is not defined.

    Example:
        >>> from monai_ext.metrics import Estimate
        >>> Estimate(0.82, 0.75, 0.88)
        Estimate(value=0.82, ci_low=0.75, ci_high=0.88)
    """

    value: float
    ci_low: float = np.nan
    ci_high: float = np.nan


@dataclass(frozen=True)
class Detection:
    """Result of the detection of lesions and of patients with lesions.

    Args:
        auroc: area under the ROC curve of the case scores.
        average_precision: area under the precision-recall curve of the lesion candidates.
        score: mean of both, PI-CAI's ranking score.
        num_cases: number of cases.
        num_positives: number of cases with a lesion.
        num_lesions: number of lesions in the truth.
        notes: sentences that say which values are undefined and why.
        roc: ``(false-positive rate, sensitivity)`` per case.
        froc: ``(false positives per case, sensitivity)`` per lesion.
        case_scores: score of each case.
        case_labels: 1 for each case with a lesion.
        candidates: of each case, whether it is a lesion, and its confidence; 0 for a lesion that none has found.

    Example:
        >>> import numpy as np
        >>> from monai_ext.metrics import evaluate_detection
        >>> lesion = np.zeros((3, 8, 8))
        >>> lesion[:, 2:5, 2:5] = 1
        >>> cases = [("positive", 0.9 * lesion, lesion), ("negative", 0.2 * lesion, 0 * lesion)]
        >>> found = evaluate_detection(cases, num_resamples=0)
        >>> found.auroc.value, found.average_precision.value, found.num_lesions, found.case_labels
        (1.0, 1.0, 1, {'negative': 0, 'positive': 1})
    """

    auroc: Estimate
    average_precision: Estimate
    score: Estimate
    num_cases: int
    num_positives: int
    num_lesions: int
    notes: tuple[str, ...]
    roc: tuple[list[float], list[float]]
    froc: tuple[list[float], list[float]]
    case_scores: dict[str, float]
    case_labels: dict[str, int]
    candidates: dict[str, list[tuple[bool, float]]]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a report."""
        return asdict(self)


def _picai_eval() -> ModuleType:
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints a greeting on import
            import picai_eval  # late: an optional package
    except ImportError as error:
        raise BundleError(
            f"detection is scored by the package picai_eval, which cannot be imported ({error}). "
            "Install it: pip install picai_eval"
        ) from error
    return picai_eval


def _volume(array: Tensor | ArrayLike, what: str, case: str) -> NDArray:
    volume = np.asarray(convert_to_numpy(array))
    volume = volume[0] if volume.ndim == 4 and volume.shape[0] == 1 else volume
    if volume.ndim != 3 or not np.isfinite(volume).all():
        raise DataError(f"the {what} is no volume of finite values (shape {volume.shape})", case=case)
    return volume


def _checked(cases: Iterable[Case]) -> Iterator[tuple[str, NDArray, NDArray]]:
    """Check cases for picai_eval, which silently pads, casts and mixes up, or stops without naming the case."""
    seen = set()
    for case, detection, truth in cases:
        if case in seen:
            raise DataError("the case is there twice", "Give every case its own id.", case=case)
        seen.add(case)
        found, label = _volume(detection, "detection map", case), _volume(truth, "label", case)
        if found.shape != label.shape:
            raise DataError(f"detection map {found.shape} and label {label.shape} differ in shape", case=case)
        if values := sorted({*np.unique(label).tolist()} - {0, 1}):
            raise DataError(f"the label holds {values}", "Labels are 1 in significant lesions, else 0.", case=case)
        if found.min() < 0:
            raise DataError("the detection map holds negative values", case=case)
        yield case, found.astype(np.float32), label.astype(np.int32)


def _bootstrap(
    metrics: Any, patients: Mapping[str, str], num_resamples: int, seed: int
) -> tuple[NDArray[np.float64], int]:
    """AUROC and AP of resampled patients ``[R, 2]``, and the number of resamples left out because they lack a class."""
    members: dict[str, list[str]] = {}
    for case in metrics.subject_list:
        members.setdefault(str(patients.get(case, case)), []).append(case)
    rng, units, values = np.random.default_rng(seed), list(members), []
    for _ in range(num_resamples):
        drawn = [case for unit in rng.choice(units, size=len(units), replace=True) for case in members[str(unit)]]
        if 0 < sum(metrics.case_target[case] for case in drawn) < len(drawn):
            values.append((metrics.calc_auroc(subject_list=drawn), metrics.calc_AP(subject_list=drawn)))
    return np.array(values, dtype=np.float64).reshape(-1, 2), num_resamples - len(values)


def _estimate(value: float, resampled: NDArray[np.float64]) -> Estimate:
    low, high = np.percentile(resampled, [2.5, 97.5]) if len(resampled) else (np.nan, np.nan)
    return Estimate(float(value), float(low), float(high))


def evaluate_detection(
    cases: Iterable[Case],
    patients: Mapping[str, str] | None = None,
    min_overlap: float = 0.1,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Detection:
    """Score detection maps with picai_eval (Saha et al., Lancet Oncology 2024).

    A candidate finds a lesion when they overlap by an intersection over union of ``min_overlap``; a case's score is its
    highest confidence. The confidence intervals are percentiles over resampled cases. They equal those of picai_eval
    when both classes are common; resamples that lack a class are left out, whereas picai_eval would stop.

    Args:
        cases: id, detection map and label of each: volumes ``[D, H, W]`` or ``[1, D, H, W]``; the map as
            :func:`monai_ext.metrics.lesion_candidates` makes it, the label 1 in significant lesions. May be a
            generator that loads one case at a time.
        patients: patient of each case, needed when a patient has several cases; patients are then resampled.
        min_overlap: smallest overlap that counts as found.
        num_resamples: bootstrap resamples, 0 for no intervals.
        seed: seed of the resampling.

    Returns:
        The results. Values that the cases do not define (AUROC without negatives, all values without lesions) are NaN
        and explained in ``notes``.

    Raises:
        BundleError: picai_eval is not installed.
        DataError: there is no case, or a case is invalid; the error names it.

    Example:
        >>> import numpy as np
        >>> from monai_ext.metrics import evaluate_detection
        >>> lesion = np.zeros((3, 8, 8))
        >>> lesion[:, 2:5, 2:5] = 1
        >>> found = evaluate_detection([("case_1", 0.9 * lesion, lesion)], num_resamples=0)
        >>> found.average_precision.value, found.notes
        (1.0, ('all 1 cases have a lesion: AUROC is not defined, AP has no interval',))
    """
    picai_eval = _picai_eval()
    lesion_results: dict[str, list[tuple[int, float, float]]] = {}
    case_scores: dict[str, float] = {}
    for case, found, label in _checked(cases):
        try:
            one = picai_eval.evaluate(
                [found], [label], subject_list=[case], min_overlap=min_overlap, num_parallel_calls=1
            )
        except ValueError as error:
            cause = "the detection map has more values than connected parts: it looks like a probability map"
            raise DataError(cause, "Apply monai_ext.metrics.lesion_candidates first.", case=case) from error
        lesion_results[case], case_scores[case] = one.lesion_results[case], float(one.case_pred[case])
    if not lesion_results:
        raise DataError("there is no case to score")
    metrics = picai_eval.Metrics(lesion_results=lesion_results, case_pred=case_scores)

    positives, lesions = int(sum(metrics.case_target.values())), int(metrics.num_lesions)
    negatives, notes = metrics.num_cases - positives, []
    auroc = average_precision = np.nan
    roc: tuple[list[float], list[float]] = ([], [])
    froc: tuple[list[float], list[float]] = ([], [])
    if positives:
        average_precision = metrics.AP
        finite = np.isfinite(metrics.lesion_FPR)
        froc = (metrics.lesion_FPR[finite].tolist(), metrics.lesion_TPR[finite].tolist())
    else:
        notes.append(f"none of the {metrics.num_cases} cases has a lesion: AUROC and AP are not defined")
    if positives and negatives:
        auroc = metrics.auroc
        roc = (metrics.case_FPR.tolist(), metrics.case_TPR.tolist())
    elif positives:
        notes.append(f"all {metrics.num_cases} cases have a lesion: AUROC is not defined, AP has no interval")
    resampled: NDArray[np.float64] = np.empty((0, 2))
    if positives and negatives:
        resampled, left_out = _bootstrap(metrics, patients or {}, num_resamples, seed)
        if left_out:
            notes.append(f"{left_out} of {num_resamples} resamples lacked a class and were left out of the intervals")
    return Detection(
        auroc=_estimate(auroc, resampled[:, 0]),
        average_precision=_estimate(average_precision, resampled[:, 1]),
        score=_estimate((auroc + average_precision) / 2, resampled.mean(1)),
        num_cases=metrics.num_cases,
        num_positives=positives,
        num_lesions=lesions,
        notes=tuple(notes),
        roc=roc,
        froc=froc,
        case_scores=case_scores,
        case_labels={case: int(label) for case, label in metrics.case_target.items()},
        candidates={c: [(bool(lesion), float(sure)) for lesion, sure, _ in lesion_results[c]] for c in lesion_results},
    )
