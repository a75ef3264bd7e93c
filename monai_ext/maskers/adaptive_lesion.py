"""Masks that start at the patches most likely to hold lesion and grow during the training (AMLP)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal, get_args

import torch
from torch import Generator, Tensor

from monai_ext.maskers.masker import Masker
from monai_ext.networks.blocks.clustering import PatchClustering

__all__ = ["AdaptiveLesionMasker", "RisingRatio"]

Order = Literal["foreground_first", "background_first", "random"]


class RisingRatio:
    """Adaptive masking ratio (AMLP, 3.4, eq. 9): sigma = sigma_0 + ln(epoch) / tau, epochs counted from 1.

    The paper does not give tau. Here it follows from the ratio of the last epoch: tau = ln(max_epochs) / (final -
    initial). The default gives tau = 10 (rounded) over the paper's 800 epochs.

    Args:
        max_epochs: number of epochs of the run.
        initial: sigma_0, the ratio of epoch 1; 0.25 in the paper.
        final: ratio of the last epoch, before the limit.
        limit: upper bound of the ratio, so that some of the image stays visible.

    Raises:
        ValueError: when ``max_epochs`` is not positive, or the ratios are not 0 < initial <= final, limit < 1.

    Example:
        >>> from monai_ext.maskers import RisingRatio
        >>> ratio = RisingRatio(max_epochs=800)
        >>> [round(ratio((epoch - 1) / 800), 3) for epoch in (1, 10, 100, 800)]
        [0.25, 0.48, 0.71, 0.918]
    """

    def __init__(self, max_epochs: int = 800, initial: float = 0.25, final: float = 0.918, limit: float = 0.95) -> None:
        if max_epochs < 1:
            raise ValueError(f"max_epochs must be positive, got {max_epochs}")
        if not (0 < initial <= final and initial <= limit < 1):
            raise ValueError(f"0 < initial <= final, limit < 1 does not hold for {initial}, {final}, {limit}")
        self.max_epochs = max_epochs
        self.initial = initial
        self.final = final
        self.limit = limit

    def __call__(self, progress: float) -> float:
        """Ratio after a share of the training: epoch = 1 + progress * max_epochs, at most ``max_epochs``."""
        epoch = min(1 + progress * self.max_epochs, self.max_epochs)
        rise = math.log(epoch) / math.log(self.max_epochs) if self.max_epochs > 1 else 0.0
        return min(self.initial + (self.final - self.initial) * rise, self.limit)


class AdaptiveLesionMasker(Masker):
    """Masked patch selection (AMLP, 3.1) with the adaptive masking ratio (3.4): hide the likely lesion first.

    The patches of an image are clustered in two, and the smaller cluster is taken for lesion. All patches are ranked
    by how much nearer they lie to its centroid than to the other one, and the first ``n_m = floor(N * sigma)`` are
    hidden. (The paper ranks by "the distance to the foreground center, from large to small", which read literally
    hides the background first; its algorithm 1 and section 4.8.4 say the opposite, and so do we.)

    The clustering leaves air out. Air is hidden at random, in the same proportion as tissue. Otherwise all tissue would
    be hidden as soon as sigma exceeds the share of tissue in the image, and no tissue would be left to infer it from:
    in a slice that the head fills by half, this happens before epoch 20 of the paper's 800. The masks hide as many
    patches, and the same share of tissue, as random masking at the same ratio; only the choice of the patches differs.

    Args:
        clustering: clustering that finds the two categories. Give the same instance to the loss, so that it runs once
            per step.
        ratio: share of the patches to hide, either a number or a function of the progress.
        order: ``foreground_first``, ``background_first`` or ``random`` (AMLP, table 4).

    Raises:
        ValueError: when the order is unknown or a fixed ratio is not in (0, 1).

    Example:
        >>> import torch
        >>> from monai_ext.maskers import AdaptiveLesionMasker, PatchClustering
        >>> image = torch.zeros(1, 1, 8, 8)  # sixteen patches of 2x2 pixels: air above,
        >>> image[..., 4:, :] = torch.tensor([1.0, 2.0]).repeat(4)  # tissue below,
        >>> image[..., 6:, 6:] += 5  # and the last patch is bright
        >>> mask = AdaptiveLesionMasker(PatchClustering(patch_size=(2, 2)), ratio=0.25)({"image": image})
        >>> mask.shape, mask.sum().item(), mask[0, 15].item()
        (torch.Size([1, 16]), 4, True)
    """

    def __init__(
        self,
        clustering: PatchClustering,
        ratio: float | Callable[[float], float] = 0.75,
        order: Order = "foreground_first",
    ) -> None:
        super().__init__()
        if order not in get_args(Order):
            raise ValueError(f"unknown order {order!r}; known are {', '.join(get_args(Order))}")
        if not callable(ratio) and not 0 < ratio < 1:
            raise ValueError(f"ratio must lie between 0 and 1, got {ratio}")
        self.clustering = clustering
        self.ratio = ratio
        self.order = order

    def num_masked(self, num_patches: int, progress: float) -> int:
        """``n_m = floor(N * sigma)``; a product that misses a whole number only by rounding counts as that number."""
        ratio = self.ratio(progress) if callable(self.ratio) else self.ratio
        return math.floor(num_patches * ratio + 1e-6)

    @torch.no_grad()
    def forward(self, batch: Mapping[str, Tensor], progress: float = 0.0, generator: Generator | None = None) -> Tensor:
        """``batch["image"]`` ``[B, C, *spatial]`` -> mask bool ``[B, N]``, n_m True in every row."""
        image = batch["image"]
        score, tissue = self._rank(image)
        num_patches = score.shape[1]
        num_masked = self.num_masked(num_patches, progress)
        noise = torch.rand(score.shape, device=score.device, generator=generator)
        # Patches of equal score come in random order; air comes after all tissue.
        score = torch.where(tissue, 2 + score - score.amin(1, keepdim=True) + 1e-5 * noise, noise)
        place = score.argsort(1, descending=True).argsort(1)
        num_tissue = tissue.sum(1, keepdim=True)
        from_tissue = num_masked * num_tissue // num_patches
        return torch.where(tissue, place < from_tissue, place - num_tissue < num_masked - from_tissue)

    def _rank(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Score of each patch, the highest to be hidden first, and which patches are tissue: both ``[B, N]``."""
        if self.order == "random":
            tissue = self.clustering.patches(image)[1]
            return torch.zeros_like(tissue, dtype=torch.float), tissue
        clusters = self.clustering(image)
        margin = clusters.margin(self.clustering.patches(image)[0])
        # k-means assigns by the margin; in other clusterings a member can lie nearer to the other centroid.
        margin = margin + clusters.foreground * (margin.amax(1, keepdim=True) - margin.amin(1, keepdim=True))
        return (margin if self.order == "foreground_first" else -margin), clusters.valid
