"""Loss of a restorer: take out of a slice the lesions that were put in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor, nn

__all__ = ["RestorationLoss"]


class RestorationLoss(nn.Module):
    """Weighted squared distance of the restored slice and the slice before lesions were put in.

    The squared error of changed pixels counts ``1 + lesion_weight`` times, for they are few. An absolute error would
    have its minimum at the identity as long as less than half of such pixels are recognised.

    Args:
        lesions: puts lesions in, called as ``lesions(image, gland, generator)``; returns the altered images and where
            they differ: :class:`monai_ext.transforms.SyntheticLesions`.
        lesion_weight: additional weight of changed pixels.

    Example:
        >>> import torch
        >>> from monai_ext.losses import RestorationLoss
        >>> def brighter(image, gland, generator):
        ...     return image + gland, gland
        >>> image, gland = torch.zeros(1, 1, 2, 2), torch.tensor([[[[True, False], [False, False]]]])
        >>> loss = RestorationLoss(brighter, lesion_weight=3.0)
        >>> loss(lambda x, domain, gland: x, image, torch.zeros(1), gland=gland)  # one pixel of four is 1 off
        {'loss': tensor(1.)}
    """

    def __init__(
        self, lesions: Callable[[Tensor, Tensor, Generator | None], tuple[Tensor, Tensor]], lesion_weight: float = 4.0
    ) -> None:
        super().__init__()
        self.lesions, self.lesion_weight = lesions, lesion_weight

    def forward(
        self,
        network: Any,
        image: Tensor,
        domain: Tensor,
        generator: Generator | None = None,
        gland: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """``{"loss": scalar}`` for images ``[B, 1, H, W]`` without lesion; the domain is not used."""
        gland = torch.ones_like(image, dtype=torch.bool) if gland is None else gland
        altered, changed = self.lesions(image, gland, generator)
        error = (network(altered, None, gland).float() - image).square()
        return {"loss": (error * (1 + self.lesion_weight * changed)).mean()}
