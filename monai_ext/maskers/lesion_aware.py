"""Lesion-aware masking: patches that hold lesion are more likely to stay visible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Generator, Tensor

from monai_ext.maskers.masker import Masker, mask_all_but, weighted_sample
from monai_ext.networks.blocks import patch_grid

__all__ = ["LesionAwareMasker"]


class LesionAwareMasker(Masker):
    """Keep patches in proportion to the lesion they hold (prostate MAE, A.2, eq. 1): w = 1 + alpha M'.

    M' is the share of lesion pixels in a patch. The *kept* patches ("preferentially retained") are drawn without
    replacement with weights w. A slice without lesion or without annotation is masked uniformly. The label only places
    the mask; it does not enter the loss.

    Args:
        img_size: pixels of a slice along each axis.
        patch_size: pixels of a patch along each axis.
        mask_ratio: share of the patches to hide. The paper gives no ratio; the default is MAE's 0.75, which keeps 30 of
            121 patches.
        alpha: emphasis on lesion patches; 10 in the paper, 0 masks uniformly.

    Raises:
        ValueError: when ``alpha`` is negative, or the ratio leaves no patch or hides none.

    Example:
        >>> import torch
        >>> from monai_ext.maskers import LesionAwareMasker
        >>> masker = LesionAwareMasker(img_size=(16, 16), patch_size=(8, 8), mask_ratio=0.75, alpha=10)
        >>> label = torch.zeros(1000, 1, 16, 16)
        >>> label[..., 8:, 8:] = 1  # lesion fills the last of four patches: weights 1, 1, 1, 11
        >>> mask = masker({"label": label}, generator=torch.Generator().manual_seed(0))
        >>> mask.shape
        torch.Size([1000, 4])
        >>> round((~mask)[:, 3].float().mean().item(), 1)  # kept in 11 of 14 draws
        0.8
    """

    def __init__(
        self,
        img_size: Sequence[int] = (88, 88),
        patch_size: Sequence[int] = (8, 8),
        mask_ratio: float = 0.75,
        alpha: float = 10.0,
    ) -> None:
        super().__init__()
        grid = patch_grid(img_size, patch_size)
        self.patch_size = tuple(patch_size)
        self.num_patches = grid[0] * grid[1]
        self.num_kept = int(self.num_patches * (1 - mask_ratio))
        self.alpha = alpha
        if alpha < 0:
            raise ValueError(f"alpha must not be negative, got {alpha}")
        if not 0 < self.num_kept < self.num_patches:
            raise ValueError(f"mask_ratio {mask_ratio} keeps {self.num_kept} of {self.num_patches} patches")

    def forward(self, batch: Mapping[str, Tensor], progress: float = 0.0, generator: Generator | None = None) -> Tensor:
        """``batch["label"]`` ``[B, 1, H, W]``, any value above 0 is lesion -> mask bool ``[B, N]``, True = masked."""
        lesion = (batch["label"] > 0).float()
        share = F.avg_pool2d(lesion, self.patch_size).flatten(1)
        kept = weighted_sample(1 + self.alpha * share, self.num_kept, generator)
        return mask_all_but(kept, self.num_patches)
