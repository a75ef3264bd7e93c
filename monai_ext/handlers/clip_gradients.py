"""Gradient clipping for MONAI's supervised trainer, which has none."""

from __future__ import annotations

import torch
from ignite.engine import Engine
from monai.engines.utils import IterationEvents
from torch import nn

__all__ = ["ClipGradients"]


class ClipGradients:
    """Scale the gradients of a network down before the optimizer's step when their total norm exceeds a limit.

    Args:
        network: network whose gradients are clipped, already on its device.
        max_norm: the limit (12 in nnU-Net); None for none.

    Raises:
        ValueError: when the limit is not positive.
    """

    def __init__(self, network: nn.Module, max_norm: float | None = 12.0) -> None:
        if max_norm is not None and max_norm <= 0:
            raise ValueError(f"max_norm must be positive, got {max_norm}")
        self.network, self.max_norm = network, max_norm

    def attach(self, engine: Engine) -> None:
        """Clip after each backward pass."""
        if self.max_norm is not None:
            engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Clip now."""
        nn.utils.clip_grad_norm_(self.network.parameters(), self.max_norm or torch.inf)
