"""Vision-LSTM block: mLSTM over a sequence of image tokens, in one direction or in both."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monai_ext.networks.blocks.mlstm import MLSTMCell

__all__ = ["BlockDiagonalLinear", "ViLBlock", "ViLLayer"]


class BlockDiagonalLinear(nn.Module):
    """Linear map without bias whose matrix has square blocks on its diagonal and zeros elsewhere.

    Args:
        features: length of the input and of the output.
        block_size: rows of a block.
    """

    def __init__(self, features: int, block_size: int = 4) -> None:
        super().__init__()
        if features % block_size:
            raise ValueError(f"{features} features do not split into blocks of {block_size}")
        self.weight = nn.Parameter(torch.empty(features // block_size, block_size, block_size))

    def forward(self, x: Tensor) -> Tensor:
        """``[..., features]`` -> ``[..., features]``."""
        blocks = x.unflatten(-1, self.weight.shape[:2])
        return torch.einsum("...ni,noi->...no", blocks, self.weight).flatten(-2)


class ViLLayer(nn.Module):
    """The layer of a Vision-LSTM block between its norm and its residual sum (Alkin et al. 2024, section 3).

    The tokens are widened twofold into x and z. A causal depth-wise convolution over the sequence and SiLU feed the
    queries and keys; the values come from x itself. The output of the mLSTM, plus a learned share of the convolved
    tokens, is gated by SiLU(z) and projected back. It reads the tokens from first to last: token t sees none after t.

    Args:
        dim: length of a token.
        num_heads: heads of the mLSTM.
        kernel_size: number of tokens in the kernel of the convolution.
        gate_cap: see :class:`MLSTMCell`.
        form: see :class:`MLSTMCell`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int = 4,
        kernel_size: int = 4,
        gate_cap: float | None = 15.0,
        form: str = "chunkwise",
    ) -> None:
        super().__init__()
        inner = 2 * dim
        self.up = nn.Linear(dim, 2 * inner, bias=False)
        self.conv = nn.Conv1d(inner, inner, kernel_size, groups=inner)
        self.query = BlockDiagonalLinear(inner)
        self.key = BlockDiagonalLinear(inner)
        self.value = BlockDiagonalLinear(inner)
        self.cell = MLSTMCell(inner, num_heads, gate_cap, form)
        self.skip = nn.Parameter(torch.ones(inner))
        self.down = nn.Linear(inner, dim, bias=False)
        for layer in (self.up, self.query, self.key, self.value):
            nn.init.normal_(layer.weight, std=math.sqrt(2 / (5 * dim)))
        nn.init.normal_(self.down.weight, std=2 / math.sqrt(dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """``[B, S, dim]`` -> ``[B, S, dim]``."""
        x, z = self.up(tokens).chunk(2, dim=-1)
        past = F.pad(x.transpose(-1, -2), (self.conv.kernel_size[0] - 1, 0))
        convolved = F.silu(self.conv(past)).transpose(-1, -2)
        hidden = self.cell(self.query(convolved), self.key(convolved), self.value(x))
        return self.down((hidden + self.skip * convolved) * F.silu(z))


class ViLBlock(nn.Module):
    """Bidirectional Vision-LSTM block: y = x + forward(LN(x)) + reversed backward(reversed LN(x)).

    The two directions have their own weights and run in parallel, so they are symmetric: reversing the tokens and
    swapping the directions reverses the output. The paper only calls its xLSTM bidirectional; its published network
    reads the tokens in one direction.

    Args:
        dim: length of a token.
        bidirectional: False uses only the forward direction.
        num_heads: heads of the mLSTM.
        gate_cap: see :class:`MLSTMCell`.
        form: see :class:`MLSTMCell`.
    """

    def __init__(
        self,
        dim: int,
        bidirectional: bool = True,
        num_heads: int = 4,
        gate_cap: float | None = 15.0,
        form: str = "chunkwise",
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, bias=False)
        self.forward_layer = ViLLayer(dim, num_heads, gate_cap=gate_cap, form=form)
        self.backward_layer = ViLLayer(dim, num_heads, gate_cap=gate_cap, form=form) if bidirectional else None

    def forward(self, tokens: Tensor) -> Tensor:
        """``[B, S, dim]`` -> ``[B, S, dim]``, any S."""
        normed = self.norm(tokens)
        out = tokens + self.forward_layer(normed)
        if self.backward_layer is not None:
            out = out + self.backward_layer(normed.flip(1)).flip(1)
        return out
