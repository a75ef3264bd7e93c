"""What stands in the place of hidden patches where a network sees the whole grid."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["HiddenFill"]


class HiddenFill(nn.Module):
    """Replace hidden voxels by a learned value per channel (the mask token of SimMIM, Xie et al. 2022, for images).

    A 0 is the mean of a normalised image. Where the scaling is fixed it is anatomy: in autoPET's it is an uptake of SUV
    7, so that a hidden block looks like a lesion. The value begins darker than anatomy and learns.

    Args:
        channels: of the image.
        value: at the start, in units of the normalised image.

    Example:
        >>> import torch
        >>> from monai_ext.networks.blocks import HiddenFill
        >>> HiddenFill(1)(torch.ones(1, 1, 1, 2), torch.tensor([[[[False, True]]]])).tolist()
        [[[[1.0, -2.0]]]]
    """

    def __init__(self, channels: int, value: float = -2.0) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.full((channels,), value))

    def forward(self, image: Tensor, hidden: Tensor) -> Tensor:
        """``[B, C, *spatial]``, with hidden bool ``[B, 1, *spatial]``."""
        token = self.token.view(-1, *(1,) * (image.ndim - 2)).to(image.dtype)
        return torch.where(hidden, token, image)
