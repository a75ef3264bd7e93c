"""The matrix LSTM (mLSTM) in its three equivalent forms, and the cell that networks use.

Source: Beck et al., "xLSTM: Extended Long Short-Term Memory", NeurIPS 2024, section 2.3 and appendix A. Per head, with
an exponential input gate i and a sigmoid forget gate f (both given by their pre-activations):

    C_t = f_t C_(t-1) + i_t v_t k_t^T,   n_t = f_t n_(t-1) + i_t k_t,   h_t = C_t q_t / max(|n_t^T q_t|, 1),

with k scaled by 1 / sqrt(D). Both sides of the fraction are kept divided by exp(m_t), where the stabilizer m_t is the
largest log-weight that a token up to t has in the memory, and ``EPS`` is added to the denominator. The three functions
use the same m_t, so that they agree to rounding:

- :func:`mlstm_recurrent` follows the equations token by token;
- :func:`mlstm_parallel` holds all S x S weights at once;
- :func:`mlstm_chunkwise` carries the memory from chunk to chunk and is parallel inside: time and memory linear in S.

h does not depend on m_t (except through ``EPS``), so its gradient through m_t is zero in exact arithmetic. Here m_t is
detached, which makes it zero in floating point: otherwise exp(-m_t) overflows in fp32 for input gates below -88, and
the gradients of the gates become NaN although the forward pass is finite.

Queries, keys and values may be bfloat16 beside gates in fp32. The products of matrices, where the time goes, are then
bfloat16; gates, stabilizers, sums over tokens and the memory between chunks are in the type of the gates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["MLSTMCell", "mlstm_chunkwise", "mlstm_parallel", "mlstm_recurrent", "soft_cap"]

EPS = 1e-6


def soft_cap(x: Tensor, cap: float | None) -> Tensor:
    """Squash into (-cap, cap), near the identity around zero (xLSTM 7B, Beck et al. 2025, uses 15); None leaves x."""
    return x if cap is None else cap * torch.tanh(x / cap)


def normalized_readout(memory: Tensor, normalizer: Tensor, stabilizer: Tensor, eps: float) -> Tensor:
    """C q / max(|n^T q|, 1), where both were divided by exp(stabilizer): ``[..., D]``, ``[...]``, ``[...]``."""
    denominator = torch.maximum(normalizer.abs(), (-stabilizer).exp()) + eps
    return memory * denominator.reciprocal().unsqueeze(-1)


def mlstm_recurrent(
    query: Tensor, key: Tensor, value: Tensor, input_gate: Tensor, forget_gate: Tensor, eps: float = EPS
) -> Tensor:
    """Token by token, as the equations are written; arguments as in :func:`mlstm_chunkwise`."""
    query, key, value = (x.to(input_gate.dtype) for x in (query, key, value))
    key = key / math.sqrt(key.shape[-1])
    log_forget = F.logsigmoid(forget_gate)
    memory = torch.zeros_like(value[:, :, 0, :, None] * key[:, :, 0, None, :])
    normalizer = torch.zeros_like(key[:, :, 0])
    m = torch.full_like(input_gate[..., 0], -math.inf).detach()
    hidden = []
    for t in range(query.shape[2]):
        m_next = torch.maximum(log_forget[..., t] + m, input_gate[..., t]).detach()
        keep = (log_forget[..., t] + m - m_next).exp()[..., None]
        write = (input_gate[..., t] - m_next).exp()[..., None] * key[:, :, t]
        memory = keep[..., None] * memory + value[:, :, t, :, None] * write[..., None, :]
        normalizer = keep * normalizer + write
        m = m_next
        read = (memory @ query[:, :, t, :, None]).squeeze(-1)
        hidden.append(normalized_readout(read, (normalizer * query[:, :, t]).sum(-1), m, eps))
    return torch.stack(hidden, dim=2)


def causal_log_weights(log_forget: Tensor, input_gate: Tensor) -> Tensor:
    """D[t, s] = F_t - F_s + i_s for s <= t, else -inf, F the running sum of log f: ``[..., S, S]``."""
    total = log_forget.cumsum(-1)
    weights = total[..., :, None] - total[..., None, :] + input_gate[..., None, :]
    length = weights.shape[-1]
    future = torch.ones(length, length, dtype=torch.bool, device=weights.device).triu(1)
    return weights.masked_fill(future, -math.inf)


def mlstm_parallel(
    query: Tensor, key: Tensor, value: Tensor, input_gate: Tensor, forget_gate: Tensor, eps: float = EPS
) -> Tensor:
    """All tokens at once, quadratic in their number; arguments as in :func:`mlstm_chunkwise`."""
    log_weights = causal_log_weights(F.logsigmoid(forget_gate), input_gate)
    m = log_weights.detach().amax(-1)
    weights = (query @ key.transpose(-1, -2)) * ((log_weights - m[..., None]).exp() / math.sqrt(key.shape[-1]))
    return normalized_readout(weights.to(value.dtype) @ value, weights.sum(-1), m, eps)


def chunk_stabilizers(log_keep: Tensor, largest: Tensor) -> Tensor:
    """m at the start of every chunk, ``[B, H, chunks]``: m' = max(log_keep + m, largest), from -inf."""
    m = [torch.full_like(log_keep[..., 0], -math.inf)]
    for keep, top in zip(log_keep.unbind(-1)[:-1], largest.unbind(-1)[:-1]):
        m.append(torch.maximum(keep + m[-1], top))
    return torch.stack(m, dim=-1)


def mlstm_chunkwise(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    input_gate: Tensor,
    forget_gate: Tensor,
    chunk_size: int = 64,
    eps: float = EPS,
) -> Tensor:
    """Recurrent between chunks, parallel inside them.

    The memories at the chunk borders are collected in a list and stacked once. Writing them into one tensor in place
    instead makes autograd copy that tensor for every chunk, and the backward pass quadratic in their number.

    Args:
        query: ``[B, H, S, D]``, S tokens of any number.
        key: ``[B, H, S, D]``.
        value: ``[B, H, S, D]``.
        input_gate: pre-activation, ``[B, H, S]``, in fp32 or fp64.
        forget_gate: pre-activation, ``[B, H, S]``, of the same type.
        chunk_size: tokens per chunk; need not divide S.
        eps: added to the denominator.

    Returns:
        ``[B, H, S, D]``, in the type of the gates.
    """
    length = query.shape[2]
    chunk_size = min(chunk_size, length)
    tail = -length % chunk_size

    def chunks(x: Tensor) -> Tensor:
        # Appended tokens come after all others and therefore change none of them.
        padded = F.pad(x, [0, 0] * (x.ndim - 3) + [0, tail]) if tail else x
        return padded.unflatten(2, (-1, chunk_size))

    query, key, value = chunks(query), chunks(key), chunks(value)
    input_gate, log_forget = chunks(input_gate), chunks(F.logsigmoid(forget_gate))
    log_weights = causal_log_weights(log_forget, input_gate)
    m = log_weights.detach().amax(-1)
    carried = query.shape[2] > 1
    if carried:
        # The last row of the causal weights is the contribution of each token to the memory at the end of its chunk.
        log_write, log_read = log_weights[..., -1, :], log_forget.cumsum(-1)
        log_keep = log_read[..., -1]
        m_start = chunk_stabilizers(log_keep.detach(), log_write.detach().amax(-1))
        log_read = log_read + m_start[..., None]
        m = torch.maximum(m, log_read.detach())
    scale = 1 / math.sqrt(key.shape[-1])
    weights = (query @ key.transpose(-1, -2)) * ((log_weights - m[..., None]).exp() * scale)
    memory, normalizer = weights.to(value.dtype) @ value, weights.sum(-1)
    if carried:
        m_end = m_start[..., 1:]
        write = key[:, :, :-1] * ((log_write[:, :, :-1] - m_end[..., None]).exp() * scale)[..., None]
        keep = (log_keep[..., :-1] + m_start[..., :-1] - m_end).exp()[..., None, None]
        start = carry(write.transpose(-1, -2).to(value.dtype) @ value[:, :, :-1], keep)
        start_normalizer = carry(write.sum(-2)[..., None], keep)
        read = query * (log_read - m).exp()[..., None]
        memory = memory + read.to(value.dtype) @ start.to(value.dtype)
        normalizer = normalizer + (read @ start_normalizer).squeeze(-1)
    hidden = normalized_readout(memory, normalizer, m, eps)
    return hidden.flatten(2, 3)[:, :, :length]


def carry(updates: Tensor, keep: Tensor) -> Tensor:
    """Memory before every chunk, from zero: ``[B, H, chunks - 1, D, E]`` updates -> ``[B, H, chunks, D, E]``.

    The memory is in the type of ``keep``, whatever that of the updates.
    """
    updates = updates.to(keep.dtype)
    states = [torch.zeros_like(updates[:, :, 0])]
    for update, k in zip(updates.unbind(2), keep.unbind(2)):
        states.append(torch.addcmul(update, k, states[-1]))
    return torch.stack(states, dim=2)


FORMS: dict[str, Callable[..., Tensor]] = {
    "chunkwise": mlstm_chunkwise,
    "parallel": mlstm_parallel,
    "recurrent": mlstm_recurrent,
}


class MLSTMCell(nn.Module):
    """Gates, mLSTM and a norm per head, on queries, keys and values of ``[B, S, features]``.

    Gates and memory are in fp32 (fp64 for fp64 input), even inside autocast, because the exponential gates need more
    than half precision. For bfloat16 input the products of matrices are bfloat16; for float16, which has not their
    range, all is fp32.

    Args:
        features: length of a query, key or value, all heads together.
        num_heads: number of heads, each of ``features / num_heads``.
        gate_cap: bound of the gate pre-activations, see :func:`soft_cap`; None sets no bound, as in the first xLSTM.
        form: form of the computation, ``"chunkwise"``, ``"parallel"`` or ``"recurrent"``, which differ only in time and
            memory.

    Raises:
        ValueError: when the heads do not divide the features, or the form is none of the three.
    """

    def __init__(
        self, features: int, num_heads: int = 4, gate_cap: float | None = 15.0, form: str = "chunkwise"
    ) -> None:
        super().__init__()
        if features % num_heads:
            raise ValueError(f"{features} features do not split into {num_heads} heads")
        if form not in FORMS:
            raise ValueError(f"form {form!r} is not one of {sorted(FORMS)}")
        self.num_heads = num_heads
        self.gate_cap = gate_cap
        self.mlstm = FORMS[form]
        self.gates = nn.Linear(3 * features, 2 * num_heads)
        self.norm_weight = nn.Parameter(torch.ones(features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with gates that ignore the tokens; forget gates range from 0.953 to 0.998 over the heads."""
        nn.init.zeros_(self.gates.weight)
        with torch.no_grad():
            input_gate, forget_gate = self.gates.bias.chunk(2)
            input_gate.normal_(std=0.1)
            forget_gate.copy_(torch.linspace(3.0, 6.0, self.num_heads))

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """``[B, S, features]`` each -> ``[B, S, features]``, in the type of the query."""
        kind = query.dtype
        with torch.autocast(query.device.type, enabled=False):
            exact = torch.promote_types(kind, torch.float32)
            tokens = [x if kind == torch.bfloat16 else x.to(exact) for x in (query, key, value)]
            gates = soft_cap(self.preactivations([x.to(exact) for x in tokens]), self.gate_cap).transpose(1, 2)
            heads = [x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x in tokens]
            # A trace holds the chunks of one number of tokens; the parallel form is right for any.
            mlstm = mlstm_parallel if torch.jit.is_tracing() else self.mlstm
            hidden = mlstm(*heads, *gates.chunk(2, dim=1))
            hidden = F.layer_norm(hidden, hidden.shape[-1:]).transpose(1, 2).flatten(2)
            return (hidden * self.norm_weight).to(kind)

    def preactivations(self, tokens: Sequence[Tensor]) -> Tensor:
        """Input gates, then forget gates, of every token: ``[B, S, 2 * num_heads]``.

        Each gate is a linear map of query, key and value together, done in three parts so that nothing is concatenated.
        """
        weight, bias = self.gates.weight.to(tokens[0].dtype), self.gates.bias.to(tokens[0].dtype)
        query, key, value = (F.linear(x, w) for x, w in zip(tokens, weight.chunk(3, dim=1)))
        return query + key + value + bias
