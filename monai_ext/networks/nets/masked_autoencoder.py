"""Masked autoencoder (MAE) on slices: the encoder, and the network that pretrains it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.blocks.pos_embed_utils import build_sincos_position_embedding
from monai.utils import ensure_tuple_rep
from torch import Tensor, nn

from monai_ext.networks.blocks import TransformerBlock, patch_grid, patchify

__all__ = ["MAEEncoder", "MaskedAutoencoder"]


def _init_weights(module: nn.Module) -> None:
    """Xavier-uniform linear layers with zero bias, the initialization of MAE (He et al. 2022, appendix A)."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


class PatchEmbedding(nn.Module):
    """Convolution with kernel = stride = patch size, computed as a linear map of the given patches.

    The weight is stored as the convolution's, so that ViT and MAE checkpoints fit.
    """

    def __init__(self, in_channels: int, embed_dim: int, patch_size: tuple[int, int]) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, embed_dim, patch_size, stride=patch_size)
        nn.init.xavier_uniform_(self.proj.weight.view(embed_dim, -1))

    def forward(self, patches: Tensor) -> Tensor:
        """``[B, N, P * C]`` -> ``[B, N, embed_dim]``."""
        weight = self.proj.weight.permute(0, 2, 3, 1).flatten(1)  # channel fastest, as in patchify
        return F.linear(patches, weight, self.proj.bias)


class MAEEncoder(nn.Module):
    """Vision transformer that reads only visible patches (prostate MAE, A.2).

    One convolutional patch embedding shared by all modalities, fixed 2-D sine-cosine positions, pre-norm blocks, and a
    final norm. No class token: the segmentation head reads patches.

    Args:
        in_channels: number of modalities of a slice.
        img_size: pixels along each axis, a multiple of ``patch_size``.
        patch_size: pixels of a patch along each axis.
        embed_dim: channels of a token.
        depth: number of transformer blocks.
        num_heads: attention heads (6: the ViT-S that has the paper's 384 channels).
        mlp_ratio: width of the MLP over ``embed_dim``.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import MAEEncoder
        >>> encoder = MAEEncoder(img_size=16, patch_size=4, embed_dim=16, depth=1, num_heads=2)
        >>> embedding, tokens = encoder(torch.rand(2, 3, 16, 16))
        >>> embedding.shape, tokens.shape
        (torch.Size([2, 16, 16]), torch.Size([2, 16, 16]))
        >>> visible = torch.tensor([[0, 5, 6], [1, 2, 15]])
        >>> encoder.forward_visible(torch.rand(2, 3, 16, 16), visible).shape
        torch.Size([2, 3, 16])
    """

    positions: Tensor

    def __init__(
        self,
        in_channels: int = 3,
        img_size: int | tuple[int, int] = 88,
        patch_size: int | tuple[int, int] = 8,
        embed_dim: int = 384,
        depth: int = 12,
        num_heads: int = 6,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        self.img_size = ensure_tuple_rep(img_size, 2)
        self.patch_size: tuple[int, int] = ensure_tuple_rep(patch_size, 2)  # type: ignore[assignment]
        self.grid = patch_grid(self.img_size, self.patch_size)
        self.embed_dim = embed_dim
        self.patch_embed = PatchEmbedding(in_channels, embed_dim, self.patch_size)
        self.blocks = nn.ModuleList(TransformerBlock(embed_dim, num_heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(embed_dim, eps=1e-6)
        # Positions are recomputed and never loaded, so weights trained at one image size fit another.
        positions = build_sincos_position_embedding(list(self.grid), embed_dim, 2)[0]
        self.register_buffer("positions", positions, persistent=False)
        self.blocks.apply(_init_weights)

    @property
    def num_patches(self) -> int:
        """N, patches of a slice."""
        return self.grid[0] * self.grid[1]

    def patches(self, image: Tensor) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, N, P * C]``.

        Raises:
            ValueError: when the image has another size than the encoder was built for.
        """
        if not torch.jit.is_tracing() and tuple(image.shape[2:]) != self.img_size:
            raise ValueError(f"image of {tuple(image.shape[2:])} pixels, but the encoder was built for {self.img_size}")
        return patchify(image, self.patch_size)

    def encode(self, tokens: Tensor) -> Tensor:
        """Transformer blocks and final norm, ``[B, T, embed_dim]`` -> the same."""
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encode whole slices.

        Args:
            image: ``[B, C, H, W]``.

        Returns:
            Patch embeddings before positions and blocks, and encoded tokens, both ``[B, N, embed_dim]``.
        """
        embedding = self.patch_embed(self.patches(image))
        return embedding, self.encode(embedding + self.positions)

    def forward_visible(self, image: Tensor, visible: Tensor) -> Tensor:
        """Encode only the visible patches; masked pixels do not enter the computation.

        Args:
            image: ``[B, C, H, W]``.
            visible: int64 ``[B, V]``, indices of the visible patches.

        Returns:
            ``[B, V, embed_dim]``.
        """
        patches = self.patches(image)
        patches = patches.gather(1, visible[..., None].expand(-1, -1, patches.shape[-1]))
        return self.encode(self.patch_embed(patches) + self.positions[visible])


class MaskedAutoencoder(nn.Module):
    """MAE: the encoder reads the visible patches, a light decoder predicts the masked ones (prostate MAE, A.2).

    Tokens stay in the order (visible, masked), each with its own position, so they are not shuffled back. The last
    decoder block and the output layer compute only the masked tokens, because the loss reads no others.

    Args:
        encoder: encoder to pretrain; None builds the paper's.
        mask_ratio: share of masked patches; the masker must hide exactly that many in every sample.
        decoder_dim: channels of a decoder token.
        decoder_depth: number of decoder blocks (4 in the paper).
        decoder_num_heads: attention heads of the decoder.
        mlp_ratio: width of the decoder's MLP over ``decoder_dim``.

    Example:
        >>> import torch
        >>> from monai_ext.maskers import RandomMasker
        >>> from monai_ext.networks.nets import MAEEncoder, MaskedAutoencoder
        >>> encoder = MAEEncoder(img_size=16, patch_size=4, embed_dim=16, depth=1, num_heads=2)
        >>> network = MaskedAutoencoder(encoder, mask_ratio=0.75, decoder_dim=8, decoder_depth=1, decoder_num_heads=2)
        >>> image = torch.rand(2, 3, 16, 16)
        >>> mask = RandomMasker(num_patches=16, mask_ratio=0.75)({"image": image})
        >>> network(image, mask).shape  # 4 * 4 * 3 values of each patch
        torch.Size([2, 16, 48])
    """

    positions: Tensor

    def __init__(
        self,
        encoder: MAEEncoder | None = None,
        mask_ratio: float = 0.75,
        decoder_dim: int = 192,
        decoder_depth: int = 4,
        decoder_num_heads: int = 6,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        self.encoder = MAEEncoder() if encoder is None else encoder
        self.num_visible = int(self.encoder.num_patches * (1 - mask_ratio))
        patch_embed = self.encoder.patch_embed.proj
        self.decoder_embed = nn.Linear(self.encoder.embed_dim, decoder_dim)
        self.mask_token = nn.Parameter(torch.zeros(decoder_dim))
        self.decoder_blocks = nn.ModuleList(
            TransformerBlock(decoder_dim, decoder_num_heads, mlp_ratio) for _ in range(decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(decoder_dim, eps=1e-6)
        self.decoder_pred = nn.Linear(decoder_dim, patch_embed.in_channels * patch_embed.weight[0, 0].numel())
        self.register_buffer(
            "positions", build_sincos_position_embedding(list(self.encoder.grid), decoder_dim, 2)[0], persistent=False
        )
        nn.init.normal_(self.mask_token, std=0.02)
        for module in (self.decoder_embed, self.decoder_blocks, self.decoder_pred):
            module.apply(_init_weights)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Predict the masked patches.

        Args:
            image: ``[B, C, H, W]``.
            mask: bool ``[B, N]``, True = masked, the same number in every sample.

        Returns:
            ``[B, N, P * C]``: predictions at the masked patches, zeros at the visible ones.
        """
        # Checked on the device without a synchronization: a wrong count would silently drop or leak patches.
        torch._assert_async((mask.sum(1) == mask.shape[1] - self.num_visible).all())
        order = mask.byte().argsort(dim=1, stable=True)
        visible, masked = order[:, : self.num_visible], order[:, self.num_visible :]
        seen = self.decoder_embed(self.encoder.forward_visible(image, visible)) + self.positions[visible]
        x = torch.cat([seen, (self.mask_token + self.positions[masked]).to(seen.dtype)], dim=1)
        for block in self.decoder_blocks[:-1]:
            x = block(x)
        x = self.decoder_blocks[-1](x, num_queries=masked.shape[1])
        pred = self.decoder_pred(self.decoder_norm(x))
        full = pred.new_zeros(*mask.shape, pred.shape[-1])
        return full.scatter(1, masked[..., None].expand_as(pred), pred)
