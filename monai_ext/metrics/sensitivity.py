"""Share of the true lesion that is predicted."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["sensitivity"]


def sensitivity(pred: Tensor, truth: Tensor) -> Tensor:
    """TP / (TP + FN) over the pixels of each sample (AMLP, eq. 11, without its epsilon).

    Args:
        pred: bool or {0, 1} ``[B, ...]``.
        truth: as ``pred``.

    Returns:
        fp32 ``[B]``, NaN where the truth is empty.

    Raises:
        ValueError: when the shapes differ.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import sensitivity
        >>> sensitivity(torch.tensor([[True, True, False, False]]), torch.tensor([[False, True, True, False]]))  # 1 / 2
        tensor([0.5000])
    """
    if pred.shape != truth.shape:
        raise ValueError(f"masks of different shape: {tuple(pred.shape)} and {tuple(truth.shape)}")
    pred, truth = (mask.as_subclass(Tensor).bool().flatten(1) for mask in (pred, truth))
    return torch.true_divide((pred & truth).sum(1), truth.sum(1))  # 0 / 0 is NaN
