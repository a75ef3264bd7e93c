"""Dice and IoU per slice and per volume, from validation volumes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from ignite.engine import Engine
from monai.handlers import IgniteMetricHandler
from monai.metrics import CumulativeIterationMetric
from torch import Tensor

from monai_ext.metrics.overlap import Overlap, foreground
from monai_ext.metrics.summary import Summary, summarize

__all__ = ["SliceDice", "SliceDiceMetric"]


def overlap_from_counts(counts: Tensor, only_lesions: bool = False) -> Overlap:
    """Dice 2I / (P + T) and IoU I / (P + T - I), with empty masks as in :func:`~monai_ext.metrics.overlap`.

    Args:
        counts: ``[B, 3]``, pixels in the intersection I, in the prediction P and in the truth T.
        only_lesions: see :func:`~monai_ext.metrics.overlap`.
    """
    intersection, pred, truth = counts.unbind(1)
    total = pred + truth
    both_empty = total == 0
    result = Overlap(
        dice=torch.where(both_empty, 1.0, 2 * intersection / total),
        iou=torch.where(both_empty, 1.0, intersection / (total - intersection)),
    )
    if not only_lesions:
        return result
    return Overlap(*(torch.where(truth == 0, torch.nan, value) for value in result))


class SliceDiceMetric(CumulativeIterationMetric):
    """Accumulate the overlap of every slice of validation volumes (prostate MAE, A.4: "on a per-slice basis").

    The paper does not say what it does with slices that hold no lesion, so there are three means, each for Dice and
    IoU:

    - ``lesion_slices``: slices whose truth is not empty. The key metric. A false positive elsewhere does not lower it.
    - ``all_slices``: every slice; both empty is 1, a prediction on a lesion-free slice is 0.
    - ``lesion_volumes``: volumes whose truth is not empty, each volume as a whole.

    Call it with ``y_pred`` and ``y`` of shape ``[B, C, X, Y, Z]`` (or lists without B): class indices (C = 1) or
    one-hot. Every class but the background counts as lesion. Only counts of pixels are kept, on the masks' device.

    Args:
        slice_dim: axis of the volume along which it is cut, the last by default (axial slices of an RAS volume).

    Example:
        >>> import torch
        >>> from monai_ext.metrics import SliceDiceMetric
        >>> label = torch.zeros(1, 1, 4, 4, 3)
        >>> label[..., :2, :, 0] = 1  # lesion in the first of three slices
        >>> pred = label.clone()
        >>> pred[..., 0, :, 0] = 0  # half of it is found,
        >>> pred[..., 0, 0, 1] = 1  # and a false positive in the second slice
        >>> metric = SliceDiceMetric()
        >>> _ = metric(pred, label)
        >>> found = metric.results()
        >>> round(found["dice_lesion_slices"], 3), round(found["dice_all_slices"], 3)  # 8 / 12 and (8 / 12 + 0 + 1) / 3
        (0.667, 0.556)
    """

    def __init__(self, slice_dim: int = -1) -> None:
        super().__init__()
        self.slice_dim = slice_dim
        self._volumes = 0

    def reset(self) -> None:
        """Forget all volumes."""
        super().reset()
        self._volumes = 0

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **_: Any) -> Tensor:
        """Rows (volume, intersection, predicted, true) of all slices: int64 ``[B * Z, 4]``.

        Raises:
            ValueError: when the masks are not volumes, or their sizes differ.
        """
        if y is None or y_pred.ndim != 5 or y.ndim != 5 or y_pred.shape[2:] != y.shape[2:]:
            shapes = [None if mask is None else tuple(mask.shape) for mask in (y_pred, y)]
            raise ValueError(f"SliceDice needs two masks [B, C, X, Y, Z] of one size, got {shapes[0]} and {shapes[1]}")
        pred, truth = (foreground(mask).movedim(self.slice_dim, 1).flatten(2) for mask in (y_pred, y.to(y_pred.device)))
        counts = torch.stack([(pred & truth).sum(2), pred.sum(2), truth.sum(2)], dim=2)
        # Numbered so that no two processes of a distributed run give the same number to their volumes.
        rank, processes = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        number = torch.arange(self._volumes, self._volumes + len(pred), device=pred.device) * processes + rank
        self._volumes += len(pred)
        return torch.cat([number[:, None, None].expand(-1, counts.shape[1], 1), counts], dim=2).flatten(0, 1)

    def values(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Every value behind the means: name -> (values, number of the volume each belongs to), NaN = left out."""
        rows = self.get_buffer()
        if rows is None:
            rows = torch.zeros(0, 4, dtype=torch.int64)
        volumes, of_slice = rows[:, 0].unique(return_inverse=True)
        slices = rows[:, 1:]
        whole = slices.new_zeros(len(volumes), 3).index_add_(0, of_slice, slices)

        def named(where: str, values: Overlap, volume: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
            return {f"{name}_{where}": (value, volume) for name, value in values._asdict().items()}

        return {
            **named("lesion_slices", overlap_from_counts(slices, only_lesions=True), of_slice),
            **named("all_slices", overlap_from_counts(slices), of_slice),
            **named("lesion_volumes", overlap_from_counts(whole, only_lesions=True), volumes),
        }

    def results(self) -> dict[str, float]:
        """The six means (NaN where nothing counts) and ``n_lesion_slices``, ``n_all_slices``, ``n_lesion_volumes``."""
        values = {name: value for name, (value, _) in self.values().items()}
        means = {name: value.nanmean().item() for name, value in values.items()}
        return means | {
            name.replace("dice", "n"): float((~value.isnan()).sum()) for name, value in values.items() if "dice" in name
        }

    def summary(self, **options: Any) -> dict[str, Summary]:
        """Each mean with n and a confidence interval that resamples whole volumes; ``options`` go to `summarize`."""
        return {name: summarize(value, volume, **options) for name, (value, volume) in self.values().items()}

    def aggregate(self) -> Tensor:
        """Mean Dice over lesion-bearing slices, NaN when there is none."""
        return self.values()["dice_lesion_slices"][0].nanmean()


class SliceDice(IgniteMetricHandler):
    """`SliceDiceMetric` for MONAI's evaluators.

    Under the name it is attached with stands the mean Dice over lesion-bearing slices, for early stopping and the
    choice of the best model; the evaluator's ``state.metrics`` also gets all of :meth:`SliceDiceMetric.results`, and
    ``state.metric_details[name]`` the counts of every slice.

    Args:
        output_transform: takes ``(pred, label)`` from the engine's output, for example
            ``monai.handlers.from_engine(["pred", "label"])``.
        slice_dim: see `SliceDiceMetric`.

    Example:
        >>> import torch
        >>> from ignite.engine import Engine
        >>> from monai_ext.metrics import SliceDice
        >>> label = torch.zeros(1, 1, 4, 4, 3)
        >>> label[..., :2, :, 0] = 1
        >>> evaluator = Engine(lambda engine, batch: (label, label))
        >>> SliceDice().attach(evaluator, "mean_dice")
        >>> found = evaluator.run([0]).metrics
        >>> found["mean_dice"], found["n_lesion_slices"], found["n_all_slices"]
        (1.0, 1.0, 3.0)
    """

    def __init__(self, output_transform: Callable = lambda x: x, slice_dim: int = -1) -> None:
        self.metric = SliceDiceMetric(slice_dim)
        super().__init__(metric_fn=self.metric, output_transform=output_transform)

    def completed(self, engine: Engine, name: str) -> None:
        """Write the key value under ``name`` and the other results beside it."""
        super().completed(engine, name)
        engine.state.metrics.update({k: v for k, v in self.metric.results().items() if k != name})
