"""The pre-norm transformer block of ViT and MAE."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Attention", "TransformerBlock"]


class Attention(nn.Module):
    """Multi-head self-attention.

    Args:
        dim: channels of a token.
        num_heads: number of heads, a divisor of ``dim``.

    Raises:
        ValueError: when ``dim`` is not a multiple of ``num_heads``.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, num_queries: int = 0) -> Tensor:
        """``[B, N, dim]`` -> ``[B, N, dim]``; with ``num_queries``, only for the last ``num_queries`` tokens."""
        batch, tokens, dim = x.shape
        queries = num_queries if num_queries > 0 else tokens
        if queries == tokens:
            q, kv = self.qkv(x).split([dim, 2 * dim], dim=-1)
        else:
            q = F.linear(x[:, -queries:], self.qkv.weight[:dim], self.qkv.bias[:dim])
            kv = F.linear(x, self.qkv.weight[dim:], self.qkv.bias[dim:])
        q = q.reshape(batch, queries, self.num_heads, -1).transpose(1, 2)
        k, v = kv.reshape(batch, tokens, 2, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        if q.is_cuda or tokens > 512:
            out = F.scaled_dot_product_attention(q, k, v)
        else:
            # The flash kernel's backward on a CPU takes 4 to 5 times these two products at the lengths of a slice.
            out = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.proj(out.transpose(1, 2).reshape(batch, queries, dim))


class _LinearOfGELU(torch.autograd.Function):
    """``linear(gelu(x))`` that keeps only x for the backward pass and recomputes the GELU, its widest tensor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.linear(F.gelu(x), weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (grad,) = grads
        x, weight = ctx.saved_tensors
        rows = grad.flatten(0, -2)
        # Under autocast x and grad are bf16 and the parameters fp32.
        grad_weight = (rows.t() @ F.gelu(x).flatten(0, -2)).to(weight.dtype)
        grad_x = torch.ops.aten.gelu_backward(grad @ weight.to(grad.dtype), x)
        return grad_x, grad_weight, rows.sum(0).to(weight.dtype)


class MLP(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., dim]`` -> ``[..., dim]``."""
        hidden = self.fc1(x)
        if self.training:  # a quarter less memory for 2 % of the time
            return _LinearOfGELU.apply(hidden, self.fc2.weight, self.fc2.bias)
        return self.fc2(F.gelu(hidden))


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)) (Dosovitskiy et al. 2021). Parameter names are timm's.

    Args:
        dim: channels of a token.
        num_heads: attention heads.
        mlp_ratio: width of the MLP over ``dim``.
    """

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLP(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor, num_queries: int = 0) -> Tensor:
        """``[B, N, dim]`` -> ``[B, N, dim]``.

        With ``num_queries`` only the last ``num_queries`` tokens are updated and returned, ``[B, num_queries, dim]``;
        they attend to all tokens.
        """
        residual = x if num_queries == 0 else x[:, -num_queries:]
        x = residual + self.attn(self.norm1(x), num_queries)
        return x + self.mlp(self.norm2(x))
