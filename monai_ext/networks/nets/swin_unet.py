"""Swin-Unet: a U-Net of shifted-window transformers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from monai.networks.nets.swin_unetr import BasicLayer, PatchMergingV2
from monai.utils import ensure_tuple_rep
from torch import Tensor, nn

from monai_ext.networks.blocks.padding import check_size, crop_like, pad_to_multiple, padded_size

__all__ = ["PatchExpanding", "SwinUnet"]


class PatchExpanding(nn.Module):
    """Enlarge a feature map by spreading channels over space, the inverse of patch merging (Swin-Unet, 3.5).

    A linear layer widens each token, its parts become the pixels of a ``scale`` x ``scale`` square, then a layer norm.

    Args:
        dim: channels of a token.
        out_dim: channels of a token afterwards.
        scale: factor of each side.
    """

    def __init__(self, dim: int, out_dim: int, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale
        self.expand = nn.Linear(dim, out_dim * scale**2, bias=False)
        self.norm = nn.LayerNorm(out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, H, W, dim]`` -> ``[B, scale * H, scale * W, out_dim]``."""
        x = self.expand(x).unflatten(-1, (self.scale, self.scale, -1))  # [B, H, W, scale, scale, out_dim]
        return self.norm(x.transpose(2, 3).flatten(3, 4).flatten(1, 2))


class SwinBlocks(nn.Module):
    """MONAI's Swin blocks with alternating plain and shifted windows, for tokens in channels-last order.

    A grid smaller than the window becomes one window, with a table of relative positions of that size. (MONAI alone
    would read the table of the larger window at the wrong places.)

    Args:
        dim: channels of a token.
        grid: tokens along each axis.
        num_heads: attention heads.
        window_size: tokens along each side of a window.
        drop_path: stochastic depth of each block; as many blocks as values.
        mlp_ratio: width of the MLP over ``dim``.
    """

    def __init__(
        self,
        dim: int,
        grid: Sequence[int],
        num_heads: int,
        window_size: int,
        drop_path: Sequence[float],
        mlp_ratio: float,
    ) -> None:
        super().__init__()
        self.layer = BasicLayer(
            dim=dim,
            depth=len(drop_path),
            num_heads=num_heads,
            window_size=[min(window_size, side) for side in grid],
            drop_path=list(drop_path),
            mlp_ratio=mlp_ratio,
            qkv_bias=True,
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[B, H, W, dim]`` -> ``[B, H, W, dim]``."""
        return self.layer(x.movedim(3, 1)).movedim(1, 3)


class SwinUnet(nn.Module):
    """Swin-Unet (Cao et al. 2021, arXiv 2105.05537) with the paper's sizes, those of Swin-T, as the default.

    Patches of 4x4 pixels; stages of Swin blocks with patch merging between them; the last stage is the bottleneck; the
    decoder mirrors the encoder with patch expanding, skips (concatenated and joined by a linear layer) and as many
    blocks; a fourfold patch expanding returns to full resolution (section 3, figure 1).

    The image is padded to a multiple of 32 (patch size times the halvings) and the logits are cropped back: 88x88
    becomes 96x96, a grid of 24x24 tokens. MONAI's blocks pad a grid that is not a multiple of the window. The paper
    starts from Swin-T's ImageNet weights; here nothing is downloaded and training starts from scratch.

    Args:
        in_channels: channels of the image.
        num_classes: classes, background included.
        img_size: pixels along each axis.
        patch_size: pixels of a patch along each axis.
        embed_dim: channels of the first stage, doubled at each further one.
        depths: Swin blocks of each stage, an even number; the last is the bottleneck.
        num_heads: attention heads of each stage.
        window_size: tokens along each side of a window.
        mlp_ratio: width of a block's MLP over its channels.
        drop_path: stochastic depth of the deepest block, rising linearly from 0 at the first; the decoder mirrors it.

    Raises:
        ValueError: when ``depths`` and ``num_heads`` differ in length, or an image has another size than ``img_size``.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import SwinUnet
        >>> network = SwinUnet(img_size=40, embed_dim=12, depths=(2, 2), num_heads=(2, 4), window_size=5)
        >>> network(torch.rand(2, 3, 40, 40)).shape
        torch.Size([2, 2, 40, 40])
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 2,
        img_size: int | Sequence[int] = 224,
        patch_size: int = 4,
        embed_dim: int = 96,
        depths: Sequence[int] = (2, 2, 2, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        window_size: int = 7,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        if len(depths) != len(num_heads):
            raise ValueError(f"{len(depths)} depths but {len(num_heads)} num_heads")
        self.img_size = ensure_tuple_rep(img_size, 2)
        self.multiple = patch_size * 2 ** (len(depths) - 1)
        padded = padded_size(self.img_size, self.multiple)
        rates = np.split(np.linspace(0, drop_path, sum(depths)), np.cumsum(depths)[:-1])
        dims = [embed_dim * 2**i for i in range(len(depths))]

        def blocks(stage: int) -> SwinBlocks:
            grid = [side // patch_size // 2**stage for side in padded]
            return SwinBlocks(dims[stage], grid, num_heads[stage], window_size, rates[stage].tolist(), mlp_ratio)

        self.embed = nn.Conv2d(in_channels, embed_dim, patch_size, stride=patch_size)
        self.embed_norm = nn.LayerNorm(embed_dim)
        down = range(len(depths) - 1)
        self.encoder = nn.ModuleList(blocks(stage) for stage in down)
        self.merge = nn.ModuleList(PatchMergingV2(dims[stage], spatial_dims=2) for stage in down)
        self.bottleneck = blocks(len(depths) - 1)
        self.bottleneck_norm = nn.LayerNorm(dims[-1])
        self.expand = nn.ModuleList(PatchExpanding(deep, shallow) for shallow, deep in reversed(list(pairwise(dims))))
        self.join = nn.ModuleList(nn.Linear(2 * dims[stage], dims[stage]) for stage in reversed(down))
        self.decoder = nn.ModuleList(blocks(stage) for stage in reversed(down))
        self.decoder_norm = nn.LayerNorm(embed_dim)
        self.expand_patches = PatchExpanding(embed_dim, embed_dim, patch_size)
        self.head = nn.Conv2d(embed_dim, num_classes, kernel_size=1, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        """``[B, in_channels, *img_size]`` -> logits ``[B, num_classes, *img_size]``."""
        check_size(image, self.img_size)
        x = self.embed_norm(self.embed(pad_to_multiple(image, self.multiple)).movedim(1, 3))
        skips = []
        for blocks, merge in zip(self.encoder, self.merge):
            x = blocks(x)
            skips.append(x)
            x = merge(x)
        x = self.bottleneck_norm(self.bottleneck(x))
        for expand, join, blocks, skip in zip(self.expand, self.join, self.decoder, reversed(skips)):
            x = blocks(join(torch.cat([expand(x), skip], dim=3)))
        x = self.expand_patches(self.decoder_norm(x))
        return crop_like(self.head(x.movedim(3, 1)), image)
