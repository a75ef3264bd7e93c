"""Detection of significant cancer as a metric of MONAI's evaluators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ignite.engine import Engine
from ignite.metrics import Metric
from monai.utils import convert_to_numpy
from numpy.typing import NDArray

from monai_ext.errors import TrainingError
from monai_ext.metrics.crossed_detection import CANDIDATES, write_candidates
from monai_ext.metrics.detection import Detection, Estimate, evaluate_detection
from monai_ext.metrics.lesion_candidates import lesion_candidates
from monai_ext.metrics.summary import Summary

__all__ = ["DetectionScore"]


class DetectionScore(Metric):
    """AUROC per case, AP per lesion and their mean, over lesion candidates of probability maps (PI-CAI).

    The value is their mean. Without a negative case AUROC is undefined and the value is AP; without a lesion it is NaN.

    Args:
        pred: key of the probability ``[1, X, Y, Z]`` of a decollated item; its ``id`` and ``patient`` are used too.
        label: key of the label of the same shape, lesion where above 0.
        num_resamples: bootstrap resamples of the intervals, 0 for none (validation during training).
        max_candidates: see :func:`lesion_candidates`.
        min_voxels: see :func:`lesion_candidates`.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import DetectionScore
        >>> label = torch.zeros(1, 3, 8, 8)
        >>> label[:, :, 2:5, 2:5] = 1
        >>> metric = DetectionScore()
        >>> metric.update([{"id": "positive", "pred": 0.9 * label, "label": label}])
        >>> metric.update([{"id": "negative", "pred": 0.2 * label, "label": 0 * label}])
        >>> metric.compute()
        1.0
    """

    def __init__(
        self,
        pred: str = "pred",
        label: str = "label",
        num_resamples: int = 0,
        max_candidates: int = 5,
        min_voxels: int = 11,
    ) -> None:
        self.num_resamples, self.max_candidates, self.min_voxels = num_resamples, max_candidates, min_voxels
        self.pred, self.label = pred, label
        self.details: dict[str, Any] = {}
        self.detection: Detection | None = None
        super().__init__()

    @property
    def metric(self) -> DetectionScore:
        """The metric itself: reports read this attribute, and ignite would turn a missing attribute into a function."""
        return self

    def reset(self) -> None:
        """Forget all cases."""
        self._cases: list[tuple[str, _Sparse, _Sparse]] = []
        self._patients: dict[str, str] = {}

    def iteration_completed(self, engine: Engine) -> None:
        """Add the cases of a batch, whose ids are in the batch and not in the output."""
        state: Any = engine.state
        self.update([{**batch, **output} for batch, output in zip(state.batch, state.output)])

    def update(self, output: Sequence[Mapping[str, Any]]) -> None:
        """Add decollated items.

        Raises:
            TrainingError: a probability is not finite, because the network's weights are not.
        """
        for item in output:
            label, case = item[self.label], str(item.get("id", len(self._cases)))
            probability = convert_to_numpy(item[self.pred])
            if not np.isfinite(probability).all():
                raise TrainingError(
                    f"the network's probabilities for case {case} are not finite: its weights have diverged. "
                    "The last good checkpoint is kept; lower the learning rate"
                )
            detection, _, _ = lesion_candidates(
                probability[0],
                max_candidates=self.max_candidates,
                min_voxels=self.min_voxels,
            )
            truth = (convert_to_numpy(label)[0] > 0).astype(np.uint8)
            self._cases.append((case, _Sparse(detection), _Sparse(truth)))
            self._patients[case] = str(item.get("patient", case))

    def compute(self) -> float:
        """Compute the value, and set :attr:`detection` and :attr:`details` to the full result."""
        if not self._cases:
            return float("nan")
        cases = ((case, detection.dense(), truth.dense()) for case, detection, truth in self._cases)
        found = evaluate_detection(cases, self._patients, num_resamples=self.num_resamples)
        self.detection = found
        self.details.clear()
        self.details.update(found.as_dict())
        return found.score.value if np.isfinite(found.score.value) else found.average_precision.value

    def completed(self, engine: Engine, name: Any) -> None:
        """Write the value under ``name``, and AUROC and AP beside it."""
        super().completed(engine, name)
        if self.detection is not None:
            metrics: Any = engine.state.metrics
            metrics.update(auroc=self.detection.auroc.value, ap=self.detection.average_precision.value)

    def by_case(self) -> list[dict[str, str | float]]:
        """``case``, ``patient`` and its ``candidates``: "1:0.83 0:0.2" is a lesion that was found, and no lesion."""
        found = {} if self.detection is None else self.detection.candidates
        return [
            {"case": case, "patient": self._patients[case], CANDIDATES: write_candidates(candidates)}
            for case, candidates in found.items()
        ]

    def summary(self) -> dict[str, Summary]:
        """``auroc``, ``ap``, ``score``, each with n and its interval over patients."""
        if self.detection is None:
            return {}
        found = self.detection
        groups = len(set(self._patients.values()))

        def row(estimate: Estimate, n: int) -> Summary:
            return Summary(mean=estimate.value, ci_low=estimate.ci_low, ci_high=estimate.ci_high, n=n, groups=groups)

        return {
            "auroc": row(found.auroc, found.num_cases),
            "ap": row(found.average_precision, found.num_lesions),
            "score": row(found.score, found.num_cases),
        }


class _Sparse:
    """A volume that is nearly empty."""

    def __init__(self, volume: NDArray[Any]) -> None:
        self.shape, self.dtype = volume.shape, volume.dtype
        self.places = np.flatnonzero(volume)
        self.values = volume.ravel()[self.places]

    def dense(self) -> NDArray[Any]:
        volume = np.zeros(self.shape, dtype=self.dtype)
        volume.ravel()[self.places] = self.values
        return volume
