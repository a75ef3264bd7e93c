"""Fixed sine-cosine positions of a patch grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["sincos_positions"]


def sincos_positions(grid: Sequence[int], dim: int, temperature: float = 10000.0) -> Tensor:
    """Sine-cosine positional encoding of a 2-D or 3-D grid (MAE, He et al. 2022; ViT, Dosovitskiy et al. 2021).

    Each axis gets an equal share of the channels: half of them sin(p w_k), half cos(p w_k), with
    w_k = temperature^(-k / K) for k = 0 .. K - 1.

    Args:
        grid: number of patches along each axis.
        dim: channels, a multiple of twice the number of axes.
        temperature: largest wavelength over 2 pi.

    Returns:
        fp32 ``[N, dim]``, patches in row-major order; the last axis comes first in the channels, as in MAE.

    Raises:
        ValueError: when ``dim`` cannot be shared among the axes.
    """
    if dim % (2 * len(grid)):
        raise ValueError(f"dim {dim} is not a multiple of {2 * len(grid)}")
    half = dim // len(grid) // 2
    frequency = temperature ** -(torch.arange(half, dtype=torch.float64) / half)
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid), indexing="ij")
    angles = [position.reshape(-1, 1) * frequency for position in reversed(axes)]
    return torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], dim=1).float()
