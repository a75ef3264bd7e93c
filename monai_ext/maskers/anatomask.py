"""Self-masking guided by reconstruction: keep hidden the patches that a teacher could not reconstruct."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Generator, Tensor

from monai_ext.maskers.masker import Masker, weighted_sample
from monai_ext.networks.blocks import patch_error, patch_grid

__all__ = ["AnatoMasker"]


class AnatoMasker(Masker):
    """Keep the patches masked that the teacher reconstructs worst, draw the rest at random (AnatoMask, 3.3, Alg. 1).

    1. A random mask hides a share gamma of the patches: 235 of the 392 of a 112x112x128 crop.
    2. The teacher reconstructs them, without gradient.
    3. The share r_t of the masked patches with the largest error stays masked, ``floor(235 r_t)`` of them; the rest of
       the 235 is drawn uniformly from all other patches, masked before or not.

    Eq. 3: r_t = r_0 + progress * (r_T - r_0), with progress = t / T for the 0-based epoch t of T. By default r_t rises
    from 0 to 0.5, "easy to hard": 0, 29, 58 and 117 patches at epochs 5, 250, 499 and 999 of 1000. (One sentence of the
    paper says r_0 > r_T; its values and its code agree with the schedule here.)

    Rows of the paper's tables: SparK is ``r_end=0`` (the teacher is not called when it has no patch to choose); hard to
    easy is ``r_start=0.5, r_end=0``; low significance is ``significance="low"``; no self-distillation is a teacher that
    is never updated.

    Args:
        patch_size: voxels of a patch along each axis.
        mask_ratio: share gamma of the patches to hide.
        teacher: function that predicts as ``teacher(image, mask)`` under ``no_grad`` what :class:`MaskedPatchLoss`
            takes, usually :meth:`monai_ext.handlers.EMA.predict`. It may be None when r_t stays 0.
        r_start: share r_0 of the masked patches that the teacher chooses at the start.
        r_end: share r_T at the end.
        significance: "high" keeps the largest errors masked, "low" the smallest.
        normalize: rank by the error against normalized patches, which is what the student learns to predict. False
            ranks by the error of that same prediction against raw intensities, as eq. 2 and the published code do;
            the ranking then follows intensity.
        rule: "text" is the above; "algorithm1" counts as Algorithm 1 does: ``ceil(r_t N)`` chosen and
            ``ceil((gamma - r_t) N)`` drawn, which may mask one patch more (236 at r_t = 0.5).

    Raises:
        ValueError: when an argument is out of its range, or a teacher is needed and not given.

    Example:
        >>> import torch
        >>> from monai_ext.maskers import AnatoMasker
        >>> masker = AnatoMasker(teacher=lambda image, mask: torch.zeros_like(image))
        >>> [masker.counts(num_patches=392, progress=epoch / 1000) for epoch in (5, 499, 999)]
        [(0, 235), (58, 235), (117, 235)]
        >>> mask = masker({"image": torch.rand(1, 1, 32, 32, 32)}, progress=0.5)
        >>> mask.shape, mask.sum(1)
        (torch.Size([1, 8]), tensor([5]))
    """

    def __init__(
        self,
        patch_size: Sequence[int] = (16, 16, 16),
        mask_ratio: float = 0.6,
        teacher: Callable[[Tensor, Tensor], Tensor] | None = None,
        r_start: float = 0.0,
        r_end: float = 0.5,
        significance: str = "high",
        normalize: bool = True,
        rule: str = "text",
    ) -> None:
        super().__init__()
        largest_r = mask_ratio if rule == "algorithm1" else 1.0
        if not 0 < mask_ratio < 1:
            raise ValueError(f"mask_ratio must lie between 0 and 1, got {mask_ratio}")
        if not all(0 <= r <= largest_r for r in (r_start, r_end)):
            raise ValueError(f"r_start and r_end must lie in [0, {largest_r}], got {r_start} and {r_end}")
        if significance not in ("high", "low"):
            raise ValueError(f"significance {significance!r} is neither 'high' nor 'low'")
        if rule not in ("text", "algorithm1"):
            raise ValueError(f"rule {rule!r} is neither 'text' nor 'algorithm1'")
        if teacher is None and max(r_start, r_end) > 0:
            raise ValueError(f"r_t from {r_start} to {r_end} needs a teacher")
        self.patch_size = tuple(patch_size)
        self.mask_ratio = mask_ratio
        self.r_start, self.r_end = r_start, r_end
        self.significance, self.rule = significance, rule
        self.normalize = normalize
        self.teacher = teacher

    def counts(self, num_patches: int, progress: float) -> tuple[int, int]:
        """Number of patches that the teacher chooses, and number of all masked patches."""
        r = self.r_start + progress * (self.r_end - self.r_start)
        if self.rule == "algorithm1":
            chosen = math.ceil(round(r * num_patches, 6))
            return chosen, chosen + math.ceil(round((self.mask_ratio - r) * num_patches, 6))
        masked = self.num_masked(num_patches)
        return math.floor(round(r * masked, 6)), masked

    def num_masked(self, num_patches: int) -> int:
        """Patches of a random mask: all but ``round((1 - gamma) N)``."""
        masked = num_patches - round(num_patches * (1 - self.mask_ratio))
        if not 0 < masked < num_patches:
            raise ValueError(f"mask_ratio {self.mask_ratio} masks {masked} of {num_patches} patches")
        return masked

    def random_mask(self, batch: int, num_patches: int, device: torch.device, generator: Generator | None) -> Tensor:
        """Masks of step 1: bool ``[batch, num_patches]``, True = masked."""
        weights = torch.ones(batch, num_patches, device=device)
        return draw(weights, self.num_masked(num_patches), generator)

    @torch.no_grad()
    def rank(self, image: Tensor, mask: Tensor) -> Tensor:
        """Error of the teacher's reconstruction at masked patches, ``[B, N]`` in fp32; visible ones come last."""
        assert self.teacher is not None  # checked in __init__
        error = patch_error(self.teacher(image, mask), image, self.patch_size, self.normalize)
        return error.masked_fill(~mask, -math.inf if self.significance == "high" else math.inf)

    def forward(self, batch: Mapping[str, Tensor], progress: float = 0.0, generator: Generator | None = None) -> Tensor:
        """Draw a mask, see :meth:`Masker.forward`."""
        image = batch["image"]
        num_patches = math.prod(patch_grid(image.shape[2:], self.patch_size))
        num_chosen, num_masked = self.counts(num_patches, progress)
        weights = torch.ones(image.shape[0], num_patches, device=image.device)
        if num_chosen > 0:
            random = draw(weights, self.num_masked(num_patches), generator)
            chosen = self.rank(image, random).topk(num_chosen, dim=1, largest=self.significance == "high").indices
            weights = weights.scatter(1, chosen, math.inf)  # drawn before all others
        return draw(weights, num_masked, generator)


def draw(weights: Tensor, count: int, generator: Generator | None) -> Tensor:
    """Mask of ``count`` patches per sample drawn by ``weights`` ``[B, N]``: bool ``[B, N]``, True = masked."""
    mask = torch.zeros_like(weights, dtype=torch.bool)
    return mask.scatter_(1, weighted_sample(weights, count, generator), True)
