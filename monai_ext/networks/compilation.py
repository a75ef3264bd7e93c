"""A network that torch compiles at its first call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

__all__ = ["compiled"]


def compiled(network: nn.Module, mode: str = "default", backend: str | Callable[..., Any] = "inductor") -> nn.Module:
    """Let ``torch.compile`` fuse a network's operations; weights, names and results stay what they are.

    The network itself is changed, not wrapped: its state dict keeps its keys, so checkpoints and exports do not know.
    A config takes it for its network: ``--network '$monai_ext.networks.compiled(@network_def.to(@device))'``. The first
    step of each shape takes minutes, so this is for long trainings with crops of one size. ``ci/gpu --parts steps``
    measures whether it pays.

    Args:
        network: on its device.
        mode: of ``torch.compile``; ``"reduce-overhead"`` replays the launches of a step as CUDA graphs.
        backend: of ``torch.compile``.

    Returns:
        the network.
    """
    network.compile(mode=mode if backend == "inductor" else None, backend=backend)
    return network
