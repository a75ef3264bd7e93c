"""TransUNet: a ResNet, a vision transformer on its last features, and a decoder with skips from the ResNet."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from monai.networks.nets.basic_unet import TwoConv
from monai.utils import ensure_tuple_rep
from torch import Tensor, nn

from monai_ext.networks.blocks import TransformerBlock
from monai_ext.networks.blocks.padding import check_size, crop_like, pad_to_multiple, padded_size

__all__ = ["TransUNet"]


class StandardizedConv2d(nn.Conv2d):
    """Convolution whose kernels have zero mean and unit variance (Qiao et al. 2019), without bias."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, in_channels, H, W]`` -> ``[B, out_channels, H / stride, W / stride]``."""
        var, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, correction=0)
        weight = (self.weight - mean) / (var + 1e-5).sqrt()
        return F.conv2d(x, weight, None, self.stride, self.padding)


def conv_norm(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    """Standardized convolution and group norm, the pair of the hybrid ViT's ResNet (Dosovitskiy et al. 2021, 3.1)."""
    return nn.Sequential(
        StandardizedConv2d(in_channels, out_channels, kernel_size, stride), nn.GroupNorm(32, out_channels)
    )


class Bottleneck(nn.Module):
    """ResNet bottleneck (He et al. 2016): 1x1, 3x3 with the stride, 1x1 to four times ``width``, plus the shortcut."""

    def __init__(self, in_channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            conv_norm(in_channels, width, 1),
            nn.ReLU(),
            conv_norm(width, width, 3, stride),
            nn.ReLU(),
            conv_norm(width, 4 * width, 1),
        )
        same = stride == 1 and in_channels == 4 * width
        self.shortcut = nn.Identity() if same else conv_norm(in_channels, 4 * width, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, in_channels, H, W]`` -> ``[B, 4 * width, H / stride, W / stride]``."""
        return F.relu(self.residual(x) + self.shortcut(x))


class ResNetEncoder(nn.Module):
    """ResNet without its last stage: features at 1/2, 1/4, 1/8 and 1/16 of the image for three stages.

    Args:
        in_channels: channels of the image.
        width: channels of the stem; stage i puts out ``4 * width * 2^i``.
        depths: bottlenecks per stage.
    """

    def __init__(self, in_channels: int, width: int, depths: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_norm(in_channels, width, 7, stride=2), nn.ReLU())
        self.channels = [width]
        self.stages = nn.ModuleList()
        for i, depth in enumerate(depths):
            wide = width * 2**i
            first = Bottleneck(self.channels[-1], wide, stride=1 if i == 0 else 2)
            self.stages.append(nn.Sequential(first, *(Bottleneck(4 * wide, wide) for _ in range(depth - 1))))
            self.channels.append(4 * wide)

    def forward(self, image: Tensor) -> list[Tensor]:
        """``[B, in_channels, H, W]`` -> features, finest first."""
        features = [self.stem(image)]
        x = F.max_pool2d(features[0], kernel_size=3, stride=2, padding=1)
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class TransUNet(nn.Module):
    """TransUNet (Chen et al. 2021, arXiv 2102.04306) with the paper's R50-ViT-B/16 hybrid as the default.

    A ResNet-50 without its last stage reduces the image to 1/16. Each position becomes a token of a 12-layer vision
    transformer with learnable positions. The cascaded up-sampler doubles the resolution four times, three times with a
    skip from the ResNet (sections 3.1 and 3.2).

    The image is padded to a multiple of 16 and the logits are cropped back: 88x88 becomes 96x96, 6x6 tokens. Both the
    paper and its code start from ImageNet weights; here nothing is downloaded and training starts from scratch. The
    transformer has no dropout.

    Args:
        in_channels: channels of the image.
        num_classes: classes, background included.
        img_size: pixels along each axis; the positions are learnt for this size.
        embed_dim: channels of a token.
        depth: transformer blocks.
        num_heads: attention heads.
        mlp_ratio: width of the transformer's MLP over ``embed_dim``.
        resnet_width: channels of the ResNet's stem.
        resnet_depths: bottlenecks in each stage of the ResNet; three stages make patches of 16 pixels.
        decoder_channels: channels after the transformer and after each doubling, one more than there are doublings.

    Raises:
        ValueError: when the number of decoder channels does not fit the number of ResNet stages, or an image has
            another size than ``img_size``.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import TransUNet
        >>> sizes = {"embed_dim": 16, "depth": 1, "num_heads": 2, "resnet_width": 32, "resnet_depths": (1, 1, 1)}
        >>> network = TransUNet(img_size=40, decoder_channels=(16, 8, 8, 8, 8), **sizes)
        >>> network(torch.rand(2, 3, 40, 40)).shape
        torch.Size([2, 2, 40, 40])
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 2,
        img_size: int | Sequence[int] = 224,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        resnet_width: int = 64,
        resnet_depths: Sequence[int] = (3, 4, 9),
        decoder_channels: Sequence[int] = (512, 256, 128, 64, 16),
    ) -> None:
        super().__init__()
        stages, doublings = len(resnet_depths), len(resnet_depths) + 1
        if len(decoder_channels) != doublings + 1:
            raise ValueError(
                f"{stages} ResNet stages need {doublings + 1} decoder_channels, got {tuple(decoder_channels)}"
            )
        self.img_size = ensure_tuple_rep(img_size, 2)
        self.patch_size = 2**doublings
        self.resnet = ResNetEncoder(in_channels, resnet_width, resnet_depths)
        *skips, last = self.resnet.channels

        self.embed = nn.Conv2d(last, embed_dim, kernel_size=1)
        height, width = (size // self.patch_size for size in padded_size(self.img_size, self.patch_size))
        self.positions = nn.Parameter(torch.empty(1, height * width, embed_dim))
        nn.init.trunc_normal_(self.positions, std=0.02)
        self.blocks = nn.Sequential(*(TransformerBlock(embed_dim, num_heads, mlp_ratio) for _ in range(depth)))
        self.norm = nn.LayerNorm(embed_dim, eps=1e-6)

        self.narrow = nn.Sequential(
            nn.Conv2d(embed_dim, decoder_channels[0], 3, padding=1, bias=False),
            nn.BatchNorm2d(decoder_channels[0]),
            nn.ReLU(),
        )
        self.up = nn.ModuleList(
            TwoConv(2, below + skip, out, act="relu", norm="batch", bias=False)
            for below, skip, out in zip(decoder_channels[:-1], [*reversed(skips), 0], decoder_channels[1:])
        )
        self.head = nn.Conv2d(decoder_channels[-1], num_classes, kernel_size=3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """``[B, in_channels, *img_size]`` -> logits ``[B, num_classes, *img_size]``."""
        check_size(image, self.img_size)
        *skips, x = self.resnet(pad_to_multiple(image, self.patch_size))
        x = self.embed(x)
        tokens = self.norm(self.blocks(x.flatten(2).transpose(1, 2) + self.positions))
        x = self.narrow(tokens.transpose(1, 2).unflatten(2, x.shape[2:]))
        for convs, skip in zip(self.up, [*reversed(skips), None]):
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = convs(x if skip is None else torch.cat([x, skip], dim=1))
        return crop_like(self.head(x), image)
