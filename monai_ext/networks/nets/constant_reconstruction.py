"""A reconstruction that knows nothing of lesions: the level of the tissue."""

from __future__ import annotations

import torch
from monai.networks.utils import eval_mode
from torch import Generator, Tensor, nn

__all__ = ["ConstantReconstruction"]


class ConstantReconstruction(nn.Module):
    """G(x) = the mean of the tissue plus a learned offset, the same in all of its pixels; the background stays.

    The map x - G(x) is then the image itself, so every other reconstructor has to beat this one, as a map and as a
    channel of the segmenter. The offset is the one number that it learns: with L1 it takes the mean to the median.

    Args:
        background: intensities up to this one are background, see :class:`monai_ext.transforms.GeneratorScale`.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import ConstantReconstruction
        >>> image = torch.tensor([-0.95, 0.0, 0.2, 0.4]).reshape(1, 1, 2, 2)
        >>> ConstantReconstruction().reconstruct(image).flatten()
        tensor([-0.9500,  0.2000,  0.2000,  0.2000])
    """

    def __init__(self, background: float = -0.95) -> None:
        super().__init__()
        self.background = background
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, image: Tensor) -> Tensor:
        """``[B, C, H, W]`` -> the same shape, each channel of each image with a mean of its own."""
        tissue = image > self.background + 1e-4
        count = tissue.sum((2, 3), keepdim=True).clamp(min=1)
        mean = image.where(tissue, 0).sum((2, 3), keepdim=True) / count
        return torch.where(tissue, mean + self.offset, image)

    def reconstruct(self, image: Tensor, generator: Generator | None = None) -> Tensor:
        """Forward without gradients (``generator`` is unused)."""
        with eval_mode(self):
            return self(image)
