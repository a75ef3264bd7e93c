"""Masked pretraining of the residual encoder: blocks of the image are hidden, and the whole image is predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from monai_ext.networks.blocks import mask_to_image
from monai_ext.networks.nets.residual_encoder_unet import ResidualEncoder
from monai_ext.networks.nets.xlstm_unet import ResidualDecoder

__all__ = ["MaskedResidualEncoder"]


class MaskedResidualEncoder(nn.Module):
    """Masked autoencoder around :class:`ResidualEncoder` (the MAE of Wald et al., "Revisiting MAE Pre-training", 2025).

    Masked voxels are zero in all channels, the mean of a normalized image. The weights named ``encoder.`` are those of
    :class:`ResidualEncoderUNet`; the others share no name with it.

    Args:
        in_channels: channels of the image.
        patch_size: voxels of a masked block along each axis.
        skips: False makes everything pass the last stage.
        decoder_blocks: see :class:`ResidualDecoder`; by default one at every level.
        **encoder: see :class:`ResidualEncoder`.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import MaskedResidualEncoder
        >>> network = MaskedResidualEncoder(1, (4, 4, 4), channels=[4, 8], strides=[1, 2], blocks=[1, 1])
        >>> mask = torch.arange(8)[None] < 4  # the first four of eight blocks are hidden
        >>> network(torch.zeros(1, 1, 8, 8, 8), mask).shape
        torch.Size([1, 1, 8, 8, 8])
    """

    def __init__(
        self,
        in_channels: int = 1,
        patch_size: Sequence[int] = (16, 16, 16),
        skips: bool = True,
        decoder_blocks: Sequence[int] | None = None,
        **encoder: Any,
    ) -> None:
        super().__init__()
        self.patch_size = tuple(patch_size)
        self.encoder = ResidualEncoder(in_channels, **encoder)
        channels = self.encoder.channels
        self.reconstruction = ResidualDecoder(channels, in_channels, decoder_blocks or [1] * (len(channels) - 1), skips)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Reconstruct an image from its visible blocks.

        Args:
            image: ``[B, in_channels, *spatial]``, whole blocks along each axis, a multiple of the total stride.
            mask: bool ``[B, N]``, True = masked, blocks in row-major order.

        Returns:
            ``[B, in_channels, *spatial]``.

        Raises:
            ValueError: when the image is not of whole blocks, or see :meth:`ResidualEncoder.forward`.
        """
        hidden = mask_to_image(mask, image.shape[2:], self.patch_size)
        return self.reconstruction(self.encoder(image.masked_fill(hidden, 0)))[0]
