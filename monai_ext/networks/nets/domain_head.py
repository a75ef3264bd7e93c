"""A domain classifier that looks for signs of disease patch by patch."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["DomainHead"]


class DomainHead(nn.Module):
    """Evidence of a lesion in every patch, joined by a smooth maximum: a slice is diseased if some patch is.

    The classifier on the discriminator's trunk sees the whole slice at once; from the slices of a few patients it
    learns who they are. Here each decision rests on 24 x 24 pixels, the same weights see all of them, and there are
    only 0.1 million. Patches join as log-mean-exp, as in multiple-instance learning (Pinheiro & Collobert, CVPR 2015).

    Args:
        in_channels: channels of an image.
        channels: width of the first layer.
        sharpness: of the smooth maximum: 0 would be the mean, infinity the maximum.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import DomainHead
        >>> head = DomainHead(channels=4)
        >>> head(torch.zeros(3, 1, 48, 48)).shape, head.evidence(torch.zeros(3, 1, 48, 48)).shape
        (torch.Size([3, 2]), torch.Size([3, 1, 12, 12]))
    """

    def __init__(self, in_channels: int = 1, channels: int = 16, sharpness: float = 2.0) -> None:
        super().__init__()
        c, self.sharpness = channels, sharpness
        widths = [(in_channels, c, 1), (c, 2 * c, 2), (2 * c, 2 * c, 1), (2 * c, 4 * c, 2), (4 * c, 4 * c, 1)]
        layers: list[nn.Module] = []
        for narrow, wide, stride in widths:
            layers += [nn.Conv2d(narrow, wide, 3 if stride == 1 else 4, stride, 1), nn.LeakyReLU(0.1, inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(4 * c, 1, 1))

    def evidence(self, image: Tensor) -> Tensor:
        """``[B, C, H, W]`` -> log odds of disease of every patch, ``[B, 1, H / 4, W / 4]``."""
        return self.layers(image)

    def forward(self, image: Tensor) -> Tensor:
        """``[B, C, H, W]`` -> logits of the domains healthy and diseased ``[B, 2]``; the healthy one is zero."""
        evidence = self.sharpness * self.evidence(image).float().flatten(1)
        joined = (torch.logsumexp(evidence, 1) - math.log(evidence.shape[1])) / self.sharpness
        return torch.stack([torch.zeros_like(joined), joined], 1)
