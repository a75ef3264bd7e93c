"""Dice and IoU of binary masks, one value per sample."""

from __future__ import annotations

from typing import NamedTuple

from monai.metrics import compute_dice, compute_iou
from torch import Tensor

__all__ = ["Overlap", "dice", "foreground", "iou", "overlap"]


class Overlap(NamedTuple):
    """Dice and IoU (Jaccard index) of each sample, fp32 ``[B]``.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import overlap
        >>> pred = torch.tensor([[True, True, False, False]])
        >>> truth = torch.tensor([[False, True, True, False]])
        >>> overlap(pred, truth)  # 2 * 1 / (2 + 2) and 1 / 3
        Overlap(dice=tensor([0.5000]), iou=tensor([0.3333]))
    """

    dice: Tensor
    iou: Tensor


def foreground(mask: Tensor) -> Tensor:
    """Mask of everything except the background.

    Args:
        mask: ``[B, 1, *spatial]`` class indices or a probability, or ``[B, C, *spatial]`` one-hot with the background
            in channel 0. Values above 0.5 count, so logits must be converted first.

    Returns:
        bool ``[B, *spatial]``.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import foreground
        >>> foreground(torch.tensor([[[0, 1, 2]]])), foreground(torch.tensor([[[1, 0], [0, 1]]]))
        (tensor([[False,  True,  True]]), tensor([[False,  True]]))
    """
    classes = mask if mask.shape[1] == 1 else mask[:, 1:]
    return (classes > 0.5).as_subclass(Tensor).any(1)


def overlap(pred: Tensor, truth: Tensor, only_lesions: bool = False) -> Overlap:
    """Dice and IoU of each sample.

    Two empty masks give 1, one empty mask gives 0. With ``only_lesions`` a sample whose truth is empty gives NaN, so
    that ``nanmean`` is the mean over samples with lesion.

    Args:
        pred: bool or {0, 1} ``[B, ...]``.
        truth: as ``pred``.
        only_lesions: True gives NaN where the truth is empty.

    Raises:
        ValueError: when the shapes differ.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import overlap
        >>> empty, lesion = torch.tensor([[False, False]]), torch.tensor([[True, False]])
        >>> overlap(lesion, empty), overlap(empty, empty)
        (Overlap(dice=tensor([0.]), iou=tensor([0.])), Overlap(dice=tensor([1.]), iou=tensor([1.])))
        >>> overlap(lesion, empty, only_lesions=True).dice
        tensor([nan])
    """
    return Overlap(dice(pred, truth, only_lesions), iou(pred, truth, only_lesions))


def dice(pred: Tensor, truth: Tensor, only_lesions: bool = False) -> Tensor:
    """MONAI's ``compute_dice`` of each sample. Arguments, errors and empty masks as of :func:`overlap`.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import dice
        >>> dice(torch.tensor([[True, True, False, False]]), torch.tensor([[False, True, True, False]]))  # 2 / (2 + 2)
        tensor([0.5000])
    """
    pred, truth = _flat(pred, truth)
    return compute_dice(pred, truth, ignore_empty=only_lesions)[:, 0]


def iou(pred: Tensor, truth: Tensor, only_lesions: bool = False) -> Tensor:
    """MONAI's ``compute_iou`` of each sample. Arguments, errors and empty masks as of :func:`overlap`.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import iou
        >>> iou(torch.tensor([[True, True, False, False]]), torch.tensor([[False, True, True, False]]))  # 1 / 3
        tensor([0.3333])
    """
    pred, truth = _flat(pred, truth)
    return compute_iou(pred, truth, ignore_empty=only_lesions)[:, 0]


def _flat(pred: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Masks as bool ``[B, 1, V]``."""
    if pred.shape != truth.shape:
        raise ValueError(f"masks of different shape: {tuple(pred.shape)} and {tuple(truth.shape)}")
    pred, truth = (mask.as_subclass(Tensor).bool().flatten(1)[:, None] for mask in (pred, truth))
    return pred, truth
