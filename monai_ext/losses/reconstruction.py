"""Loss of the autoencoders that reconstruct a healthy image."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Generator, Tensor, nn

__all__ = ["AutoencoderLoss"]


class AutoencoderLoss(nn.Module):
    """Distance of an image and its reconstruction: L1 in Baur et al. (2021), L2 in the adU-Net paper (III.B).

    Args:
        norm: ``"l1"`` or ``"l2"``.

    Raises:
        ValueError: for another norm.

    Example:
        >>> import torch
        >>> from monai_ext.losses import AutoencoderLoss
        >>> image = torch.full((1, 1, 4, 4), 3.0)
        >>> AutoencoderLoss("l1")(torch.zeros_like, image, domain=torch.zeros(1, dtype=torch.int64))
        {'loss': tensor(3.)}
        >>> AutoencoderLoss("l2")(torch.zeros_like, image, domain=torch.zeros(1, dtype=torch.int64))
        {'loss': tensor(9.)}
    """

    def __init__(self, norm: str = "l1") -> None:
        super().__init__()
        if norm not in ("l1", "l2"):
            raise ValueError(f'norm must be "l1" or "l2", not {norm!r}')
        self.norm = norm

    def forward(
        self,
        network: Any,
        image: Tensor,
        domain: Tensor,
        generator: Generator | None = None,
        gland: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """``{"loss": scalar}`` for images ``[B, C, H, W]``; the other arguments are not used."""
        distance = F.l1_loss if self.norm == "l1" else F.mse_loss
        return {"loss": distance(network(image).float(), image)}
