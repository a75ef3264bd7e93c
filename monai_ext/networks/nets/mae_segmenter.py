"""Segmentation head on a pretrained MAE encoder."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monai_ext.networks.blocks.scriptable import Scriptable
from monai_ext.networks.nets.masked_autoencoder import MAEEncoder

__all__ = ["MAESegmenter"]


def _norm(channels: int) -> nn.Module:
    # Group norm, not batch norm: a slice's result must not depend on the other slices of its batch, nor on the
    # number of devices that share a batch.
    return nn.GroupNorm(8, channels)


class UpBlock(nn.Sequential):
    """Doubles the resolution: transposed convolution, norm, ReLU, 3x3 convolution, norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2, bias=False),
            _norm(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            _norm(out_channels),
            nn.ReLU(),
        )


class MAESegmenter(Scriptable):
    """MAE encoder, up-sampling CNN decoder and fusion with the patch embeddings (prostate MAE, A.3).

    Three up-sampling blocks take the encoder's tokens from 11x11 to 88x88; the fusion block concatenates them with the
    patch-embedding features, joins both by a 3x3 convolution, and a 1x1 convolution gives the class scores. The paper
    does not give the decoder's widths.

    Args:
        in_channels: number of modalities of a slice.
        num_classes: number of classes, including the background.
        img_size: pixels along each axis.
        patch_size: pixels of a patch along each axis, a power of two; its binary logarithm is the number of up-sampling
            blocks.
        decoder_channels: output channels of the last up-sampling block; each earlier one has twice as many.
        **encoder: further arguments of :class:`MAEEncoder`.

    Raises:
        ValueError: when ``patch_size`` is not a power of two.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import MAESegmenter
        >>> network = MAESegmenter(img_size=16, patch_size=4, decoder_channels=8, embed_dim=16, depth=1, num_heads=2)
        >>> network(torch.rand(2, 3, 16, 16)).shape
        torch.Size([2, 2, 16, 16])
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 2,
        img_size: int = 88,
        patch_size: int = 8,
        decoder_channels: int = 48,
        **encoder: int | float,
    ) -> None:
        super().__init__()
        depth = patch_size.bit_length() - 1
        if patch_size != 1 << depth:
            raise ValueError(f"patch_size must be a power of two, got {patch_size}")
        self.encoder = MAEEncoder(in_channels, img_size, patch_size, **encoder)  # type: ignore[arg-type]
        self.grid = self.encoder.grid
        widths = [self.encoder.embed_dim, *(decoder_channels << i for i in reversed(range(depth)))]
        self.up = nn.Sequential(*(UpBlock(a, b) for a, b in itertools.pairwise(widths)))
        self.skip = nn.Conv2d(self.encoder.embed_dim, decoder_channels, 1)
        self.fuse = nn.Sequential(
            nn.Conv2d(2 * decoder_channels, decoder_channels, 3, padding=1, bias=False),
            _norm(decoder_channels),
            nn.ReLU(),
        )
        self.head = nn.Conv2d(decoder_channels, num_classes, 1)

    @property
    def example_size(self) -> tuple[int, ...]:
        """The one size that it takes."""
        return self.encoder.img_size

    def forward(self, image: Tensor) -> Tensor:
        """``[B, C, H, W]`` -> logits ``[B, num_classes, H, W]``."""
        embedding, tokens = (t.transpose(1, 2).unflatten(2, self.grid) for t in self.encoder(image))
        x = self.up(tokens)
        # A 1x1 convolution and a linear up-sampling commute: reduce the channels first, then up-sample.
        skip = F.interpolate(self.skip(embedding), size=x.shape[2:], mode="bilinear", align_corners=False)
        return self.head(self.fuse(torch.cat([x, skip], dim=1)))
