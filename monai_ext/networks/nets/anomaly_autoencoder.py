"""Dense and spatial autoencoders for anomaly detection (Baur et al., Medical Image Analysis 2021)."""

from __future__ import annotations

import math
from itertools import pairwise

from monai.networks.utils import eval_mode
from torch import Generator, Tensor, nn

__all__ = ["AnomalyAutoencoder"]

WIDEST, NARROWEST, LATENT_SIZE, DENSE_SQUEEZE = 128, 32, 8, 8


class AnomalyAutoencoder(nn.Module):
    """Autoencoder whose bottleneck is too narrow to reconstruct lesions, which it never saw in training.

    Stride-2 5x5 convolutions with batch norm and LeakyReLU, 32 to 128 channels, down to 8x8, mirrored by transposed
    ones; a 1x1 convolution gives the image. The bottleneck is

    - ``"spatial"``: the 8x8x128 features themselves;
    - ``"dense"``: a vector of ``latent_dim`` numbers, between 1x1 convolutions that squeeze the channels eightfold and
      with dropout around it.

    Baur et al. train with L1 and Adam at 1e-4. The adU-Net paper (III.B) trains with L2 and a step schedule from 0.1,
    which is very high for Adam and may explain why its autoencoders reach an SSIM of only 0.19 to 0.29.

    Args:
        img_size: pixels of a (square) image along an axis: 8 times a power of two, at least 16.
        in_channels: channels of an image.
        latent: ``"spatial"`` or ``"dense"``.
        latent_dim: length of the dense code.
        dropout: share of the dense code and of its input that training drops.
        negative_slope: slope of LeakyReLU below zero; the paper does not name it.

    Raises:
        ValueError: for an image size or a latent that does not fit.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import AnomalyAutoencoder
        >>> network = AnomalyAutoencoder(img_size=16, latent="dense", latent_dim=12)
        >>> image = torch.rand(2, 1, 16, 16)
        >>> network.encode(image).shape, network.reconstruct(image).shape
        (torch.Size([2, 12]), torch.Size([2, 1, 16, 16]))
    """

    def __init__(
        self,
        img_size: int = 128,
        in_channels: int = 1,
        latent: str = "spatial",
        latent_dim: int = 128,
        dropout: float = 0.2,
        negative_slope: float = 0.01,
    ) -> None:
        super().__init__()
        if latent not in ("spatial", "dense"):
            raise ValueError(f'latent must be "spatial" or "dense", not {latent!r}')
        depth = round(math.log2(img_size / LATENT_SIZE))
        if depth < 1 or LATENT_SIZE * 2**depth != img_size:
            raise ValueError(f"image size {img_size} is not {LATENT_SIZE} times a power of two")

        def stage(convolution: nn.Module, width: int) -> list[nn.Module]:
            return [convolution, nn.BatchNorm2d(width), nn.LeakyReLU(negative_slope, inplace=True)]

        down = [in_channels, *(min(WIDEST, NARROWEST * 2**i) for i in range(depth))]
        up = [down[-1], *(max(NARROWEST, WIDEST // 2**i) for i in range(depth))]
        self.encoder = nn.Sequential(
            *(m for i, o in pairwise(down) for m in stage(nn.Conv2d(i, o, 5, stride=2, padding=2), o))
        )
        self.decoder = nn.Sequential(
            *(
                module
                for i, o in pairwise(up)
                for module in stage(nn.ConvTranspose2d(i, o, 5, stride=2, padding=2, output_padding=1), o)
            ),
            nn.Conv2d(up[-1], in_channels, 1),
        )
        self.squeeze: nn.Module = nn.Identity()
        self.expand: nn.Module = nn.Identity()
        if latent == "dense":
            width, squeezed = down[-1], down[-1] // DENSE_SQUEEZE
            flat = squeezed * LATENT_SIZE**2
            self.squeeze = nn.Sequential(
                nn.Conv2d(width, squeezed, 1),
                nn.Flatten(),
                nn.Dropout(dropout),
                nn.Linear(flat, latent_dim),
                nn.Dropout(dropout),
            )
            self.expand = nn.Sequential(
                nn.Linear(latent_dim, flat),
                nn.Unflatten(1, (squeezed, LATENT_SIZE, LATENT_SIZE)),
                nn.Conv2d(squeezed, width, 1),
            )

    def encode(self, image: Tensor) -> Tensor:
        """``[B, C, H, W]`` -> the code: ``[B, 128, 8, 8]`` (spatial) or ``[B, latent_dim]`` (dense)."""
        return self.squeeze(self.encoder(image))

    def forward(self, image: Tensor) -> Tensor:
        """Reconstruct: ``[B, C, H, W]`` of the size given at construction -> the same shape."""
        return self.decoder(self.expand(self.encode(image)))

    def reconstruct(self, image: Tensor, generator: Generator | None = None) -> Tensor:
        """Pseudo-healthy image: forward without dropout and gradients (``generator`` is unused)."""
        with eval_mode(self):
            return self(image)
