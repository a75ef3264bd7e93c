"""The U-Net of AMLP, split into the parts that pretraining and segmentation share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from monai.networks.nets.basic_unet import Down, TwoConv, UpCat
from torch import Tensor, nn

from monai_ext.networks.blocks.scriptable import Scriptable

__all__ = ["UNet", "UNetEncoder"]

ACTIVATION = ("relu", {"inplace": True})
NORM = ("instance", {"affine": True})


class UNetEncoder(nn.Module):
    """Two 3x3 convolutions, then for each further level a 2x2 max pooling and two 3x3 convolutions (AMLP, 4.5).

    Args:
        in_channels: channels of the image.
        features: channels of each level, the full resolution first.
        spatial_dims: number of spatial axes, 2 or 3.
        norm: norm after each convolution, in MONAI's notation.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import UNetEncoder
        >>> encoder = UNetEncoder(in_channels=1, features=(4, 8, 16))
        >>> [tuple(features.shape) for features in encoder(torch.rand(2, 1, 32, 32))]
        [(2, 4, 32, 32), (2, 8, 16, 16), (2, 16, 8, 8)]
    """

    def __init__(
        self,
        in_channels: int = 1,
        features: Sequence[int] = (64, 128, 256, 512, 1024),
        spatial_dims: int = 2,
        norm: str | tuple = NORM,
    ) -> None:
        super().__init__()
        levels: list[nn.Module] = [TwoConv(spatial_dims, in_channels, features[0], ACTIVATION, norm, bias=False)]
        for fine, coarse in pairwise(features):
            levels.append(Down(spatial_dims, fine, coarse, ACTIVATION, norm, bias=False))
        self.levels = nn.ModuleList(levels)

    def forward(self, image: Tensor) -> list[Tensor]:
        """``[B, C, *spatial]`` -> the features of each level ``[B, features[i], *(spatial / 2**i)]``."""
        found = []
        x = image
        for level in self.levels:
            x = level(x)
            found.append(x)
        return found


class UNet(Scriptable):
    """U-Net with four down- and four up-sampling modules (Ronneberger et al. 2015; AMLP, 4.5).

    An up-sampling module is a 2x2 transposed convolution with stride 2 that halves the channels, a concatenation with
    the encoder's features of that level, and two 3x3 convolutions. Convolutions are padded, so that the output is as
    large as the input. The paper does not name a norm. We take instance norm: a slice's result does not depend on its
    batch, and the statistics of masked images do not remain in the network that is fine-tuned.

    The parts are ``body.encoder``, ``body.decoder`` and ``head``, the last a 1x1 convolution: fine-tuning takes over
    ``body`` (or ``body.encoder``) from pretraining and begins with a new head.

    Args:
        in_channels: channels of the image.
        out_channels: classes, or the image's channels for reconstruction.
        features: channels of each level, the full resolution first.
        spatial_dims: number of spatial axes, 2 or 3.
        norm: norm after each convolution, in MONAI's notation.

    Raises:
        ValueError: when there are less than two levels, or a level cannot be halved.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import UNet
        >>> UNet(in_channels=1, out_channels=2, features=(4, 8, 16))(torch.rand(2, 1, 32, 32)).shape
        torch.Size([2, 2, 32, 32])
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 2,
        features: Sequence[int] = (64, 128, 256, 512, 1024),
        spatial_dims: int = 2,
        norm: str | tuple = NORM,
    ) -> None:
        super().__init__()
        if len(features) < 2 or any(channels % 2 for channels in features[1:]):
            raise ValueError(
                f"features needs at least two levels, with even counts below the first; got {tuple(features)}"
            )
        decoder = [
            UpCat(spatial_dims, coarse, fine, fine, ACTIVATION, norm, bias=False)
            for coarse, fine in pairwise(reversed(features))
        ]
        encoder = UNetEncoder(in_channels, features, spatial_dims, norm)
        self.body = nn.ModuleDict({"encoder": encoder, "decoder": nn.ModuleList(decoder)})
        conv = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
        self.head = conv(features[0], out_channels, 1)

    @property
    def encoder(self) -> nn.Module:
        """The encoder, the only part that contrastive methods pretrain."""
        return self.body["encoder"]

    @property
    def example_size(self) -> tuple[int, ...]:
        """A small image."""
        levels: nn.ModuleList = self.body["decoder"]  # type: ignore[assignment]
        return (2 << len(levels),) * (2 if isinstance(self.head, nn.Conv2d) else 3)

    def forward(self, image: Tensor) -> Tensor:
        """``[B, C, *spatial]`` -> ``[B, out_channels, *spatial]``."""
        *skips, x = self.body["encoder"](image)
        levels: Iterable = self.body["decoder"]  # type: ignore[assignment]
        for level, skip in zip(levels, reversed(skips)):
            x = level(x, skip)
        return self.head(x)
