"""Dice and IoU of binary masks, one value per sample."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Overlap", "dice", "foreground", "iou", "overlap", "overlap_from_counts"]


class Overlap(NamedTuple):
    """Dice and IoU (Jaccard index) of each sample, fp32 ``[B]``."""

    dice: Tensor
    iou: Tensor


def foreground(mask: Tensor) -> Tensor:
    """Where there is anything but background.

    Args:
        mask: ``[B, 1, *spatial]`` class indices or a probability, or ``[B, C, *spatial]`` one-hot with the background
            in channel 0. Not logits: what exceeds 0.5 counts.

    Returns:
        bool ``[B, *spatial]``.
    """
    classes = mask if mask.shape[1] == 1 else mask[:, 1:]
    return (classes > 0.5).as_subclass(Tensor).any(1)


def overlap_from_counts(counts: Tensor, only_lesions: bool = False) -> Overlap:
    """Dice 2I / (P + T) and IoU I / (P + T - I), with the empty policy of :func:`overlap`.

    Args:
        counts: ``[B, 3]``, pixels in the intersection I, in the prediction P and in the truth T.
        only_lesions: see :func:`overlap`.
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


def overlap(pred: Tensor, truth: Tensor, only_lesions: bool = False) -> Overlap:
    """Dice and IoU of each sample.

    Both masks empty gives 1, one of the two empty gives 0. With ``only_lesions`` a sample whose truth is empty gives
    NaN, so that ``nanmean`` is the mean over lesion-bearing samples.

    Args:
        pred: bool or {0, 1} ``[B, ...]``.
        truth: as ``pred``.
        only_lesions: NaN where the truth is empty.

    Raises:
        ValueError: when the shapes differ.
    """
    if pred.shape != truth.shape:
        raise ValueError(f"masks of different shape: {tuple(pred.shape)} and {tuple(truth.shape)}")
    pred, truth = (mask.as_subclass(Tensor).bool().flatten(1) for mask in (pred, truth))
    return overlap_from_counts(torch.stack([(pred & truth).sum(1), pred.sum(1), truth.sum(1)], dim=1), only_lesions)


def dice(pred: Tensor, truth: Tensor, only_lesions: bool = False) -> Tensor:
    """Dice of each sample, see :func:`overlap`."""
    return overlap(pred, truth, only_lesions).dice


def iou(pred: Tensor, truth: Tensor, only_lesions: bool = False) -> Tensor:
    """IoU of each sample, see :func:`overlap`."""
    return overlap(pred, truth, only_lesions).iou
