"""Share of the lesions that a mask hides, a check of masking without labels on labelled data."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from monai_ext.networks.blocks import patchify

__all__ = ["lesion_recall"]


def lesion_recall(
    mask: Tensor, label: Tensor, patch_size: Sequence[int], min_share: float = 0.1
) -> tuple[Tensor, Tensor]:
    """Share of the lesion patches that a mask hides, and the share that random masking would hide.

    Args:
        mask: bool ``[B, N]``, True = masked.
        label: ``[B, 1, *spatial]``, any value above 0 is lesion.
        patch_size: pixels of a patch along each axis.
        min_share: a patch counts as lesion when lesion fills more than this share of it.

    Returns:
        Recall ``[B]``, NaN in images without a lesion patch, and chance ``[B]``, the masking ratio of each image.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import lesion_recall
        >>> label = torch.zeros(1, 1, 4, 4)
        >>> label[..., :2, :2] = 1  # the first of four patches
        >>> lesion_recall(torch.tensor([[True, False, False, True]]), label, patch_size=(2, 2))
        (tensor([1.]), tensor([0.5000]))
    """
    lesion = patchify((label.as_subclass(Tensor) > 0).float(), patch_size).mean(-1) > min_share
    recall = (lesion & mask).sum(1) / lesion.sum(1)
    return recall, mask.float().mean(1)
