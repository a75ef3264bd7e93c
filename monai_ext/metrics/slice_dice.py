"""Dice and IoU per slice and per volume, from validation volumes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from monai_ext.metrics.bridge import CaseBridge, CaseTable, pred_and_label
from monai_ext.metrics.overlap import Overlap, foreground

__all__ = ["SliceDice", "slice_counts"]


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


def slice_counts(pred: Tensor, truth: Tensor, slice_dim: int = -1) -> Tensor:
    """Pixels of every slice in the intersection, in the prediction and in the truth: int64 ``[Z, 3]``.

    Args:
        pred: ``[C, X, Y, Z]``, class indices (C = 1) or one-hot; every class but the background counts as lesion.
        truth: as ``pred``.
        slice_dim: axis of ``[C, X, Y, Z]`` along which the volume is cut.

    Raises:
        ValueError: when the masks are not volumes, or their sizes differ.
    """
    if pred.ndim != 4 or truth.ndim != 4 or pred.shape[1:] != truth.shape[1:]:
        shapes = f"{tuple(pred.shape)} and {tuple(truth.shape)}"
        raise ValueError(f"SliceDice needs two masks [C, X, Y, Z] of one size, got {shapes}")
    p, t = (foreground(mask[None]).movedim(slice_dim, 1)[0].flatten(1) for mask in (pred, truth))
    return torch.stack([(p & t).sum(1), p.sum(1), t.sum(1)], dim=1)


def slice_overlaps(counts: Tensor, volume: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Dice and IoU behind each mean of :class:`SliceDice`, and the volume that each value belongs to.

    Args:
        counts: ``[N, 3]``, see :func:`slice_counts`.
        volume: ``[N]``, number of the volume of each slice.
    """
    volumes, of_slice = volume.unique(return_inverse=True)
    unit = volumes[of_slice]
    whole = counts.new_zeros(len(volumes), 3).index_add_(0, of_slice, counts)

    def named(where: str, values: Overlap, unit: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        return {f"{name}_{where}": (value, unit) for name, value in values._asdict().items()}

    return {
        **named("lesion_volumes", overlap_from_counts(whole, only_lesions=True), volumes),
        **named("lesion_slices", overlap_from_counts(counts, only_lesions=True), unit),
        **named("all_slices", overlap_from_counts(counts), unit),
    }


class SliceTable(CaseTable):
    """:class:`CaseTable` of the overlap of slices, that also counts the slices and volumes behind each mean."""

    def __init__(self, slice_dim: int = -1) -> None:
        super().__init__(lambda pred, truth, _: slice_counts(pred, truth, slice_dim), slice_overlaps, 3)

    def results(self) -> dict[str, float]:
        """The six means (NaN where nothing counts) and ``n_lesion_slices``, ``n_all_slices``, ``n_lesion_volumes``."""
        counted = {name.replace("dice", "n"): v for name, v in self.values().items() if name.startswith("dice")}
        return super().results() | {name: float((~value.isnan()).sum()) for name, value in counted.items()}


class SliceDice(CaseBridge):
    """Overlap of every slice of validation volumes (prostate MAE, A.4: "on a per-slice basis").

    The paper does not say what it does with slices that hold no lesion, so there are three means, each for Dice and
    IoU:

    - ``lesion_volumes``: volumes whose truth is not empty, each volume as a whole, its lesion-free slices included. The
      key metric, because it is what a reader gets.
    - ``lesion_slices``: slices whose truth is not empty. A false positive elsewhere does not lower it.
    - ``all_slices``: every slice; both empty is 1, a prediction on a lesion-free slice is 0.

    The mean Dice over volumes with lesion is reported under the attached name, for early stopping and the choice of
    the best model; the evaluator's ``state.metrics`` also gets all of :meth:`SliceTable.results`, and
    ``state.metric_details[name]`` the counts of every slice. Intervals resample whole volumes. Only counts of pixels
    are kept, on the masks' device.

    Args:
        output_transform: takes ``(pred, label)`` from the engine's output, for example
            ``monai.handlers.from_engine(["pred", "label"])``.
        slice_dim: axis of ``[C, X, Y, Z]`` along which a volume is cut, the last by default (axial slices in RAS).

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

    def __init__(self, output_transform: Callable = pred_and_label, slice_dim: int = -1) -> None:
        super().__init__(SliceTable(slice_dim), output_transform)
