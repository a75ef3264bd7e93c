"""The mask convention, and drawing a fixed number of patches per sample on the device."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Generator, Tensor, nn

__all__ = ["Masker", "RandomMasker", "mask_all_but", "weighted_sample"]


class Masker(nn.Module):
    """Choose which patches of a batch are hidden from the network.

    A mask is a bool tensor ``[B, N]``, **True = masked**, patches in row-major order of the patch grid. Every sample
    of a batch has the same number of masked patches unless a masker says otherwise. Drawing is separate from applying:
    a masker never touches the image.

    Example:
        >>> import torch
        >>> from monai_ext.maskers import Masker
        >>> class HideFirst(Masker):
        ...     def forward(self, batch, progress=0.0, generator=None):
        ...         mask = torch.zeros(len(batch["image"]), 4, dtype=torch.bool)
        ...         mask[:, 0] = True
        ...         return mask
        >>> HideFirst()({"image": torch.zeros(1, 1, 16, 16)})
        tensor([[ True, False, False, False]])
    """

    @abstractmethod
    def forward(self, batch: Mapping[str, Tensor], progress: float = 0.0, generator: Generator | None = None) -> Tensor:
        """Draw a mask.

        Args:
            batch: the training batch; ``batch["image"]`` is ``[B, C, *spatial]``.
            progress: finished share of the training, (epoch - 1) / max_epochs with epochs counted from 1, for maskers
                that follow a schedule.
            generator: source of randomness, on the device of the image.

        Returns:
            bool ``[B, N]``, True = masked.
        """


def weighted_sample(weights: Tensor, count: int, generator: Generator | None = None) -> Tensor:
    """Draw ``count`` patches per sample without replacement, each in proportion to the remaining weights.

    Gumbel top-k: the ``count`` largest of log w + Gumbel noise have the distribution of successive weighted draws
    (Efraimidis & Spirakis 2006), in one batched operation and without a copy to the host. A patch of weight zero is
    drawn only when no other patch is left.

    Args:
        weights: ``[B, N]``, not negative.
        count: number of patches to draw, at most N.
        generator: source of randomness, on the device of the weights.

    Returns:
        int64 ``[B, count]``: indices of the patches drawn, in order of drawing.

    Example:
        >>> import torch
        >>> from monai_ext.maskers import weighted_sample
        >>> weighted_sample(torch.tensor([[0.0, 0.0, 1.0, 0.0]]), count=1)
        tensor([[2]])
    """
    # -log(E) with E ~ Exp(1) is Gumbel noise.
    noise = torch.empty_like(weights).exponential_(generator=generator).log_().neg_()
    return (weights.log() + noise).topk(count, dim=1).indices


def mask_all_but(kept: Tensor, num_patches: int) -> Tensor:
    """Mask that hides every patch but those in ``kept`` (``[B, K]`` indices): bool ``[B, num_patches]``.

    Example:
        >>> import torch
        >>> from monai_ext.maskers import mask_all_but
        >>> mask_all_but(torch.tensor([[2, 0]]), num_patches=4)
        tensor([[False,  True, False,  True]])
    """
    mask = torch.ones(kept.shape[0], num_patches, dtype=torch.bool, device=kept.device)
    return mask.scatter_(1, kept, False)


class RandomMasker(Masker):
    """Hide patches uniformly at random (MAE, He et al. 2022).

    Args:
        num_patches: N, patches per sample.
        mask_ratio: share of the patches to hide; ``int(N * (1 - mask_ratio))`` are kept.

    Raises:
        ValueError: when the ratio leaves no patch, or hides none.

    Example:
        >>> import torch
        >>> from monai_ext.maskers import RandomMasker
        >>> mask = RandomMasker(num_patches=16, mask_ratio=0.75)({"image": torch.zeros(2, 1, 8, 8)})
        >>> mask.shape, mask.sum(1)
        (torch.Size([2, 16]), tensor([12, 12]))
    """

    def __init__(self, num_patches: int, mask_ratio: float = 0.75) -> None:
        super().__init__()
        self.num_patches = num_patches
        self.num_kept = int(num_patches * (1 - mask_ratio))
        if not 0 < self.num_kept < num_patches:
            raise ValueError(f"mask_ratio {mask_ratio} keeps {self.num_kept} of {num_patches} patches")

    def forward(self, batch: Mapping[str, Tensor], progress: float = 0.0, generator: Generator | None = None) -> Tensor:
        """Draw a mask, see :meth:`Masker.forward`."""
        image = batch["image"]
        uniform = torch.ones(image.shape[0], self.num_patches, device=image.device)
        return mask_all_but(weighted_sample(uniform, self.num_kept, generator), self.num_patches)
