"""Limit the norm of the gradients of MONAI's trainers."""

from __future__ import annotations

from ignite.engine import Engine
from monai.engines.utils import IterationEvents
from torch import nn

__all__ = ["ClipGradients"]


class ClipGradients:
    """Scale the gradients of a network down to a norm, between the backward pass and the optimizer's step.

    Args:
        network: whose gradients.
        max_norm: the largest norm of all of them together (nnU-Net: 12).
    """

    def __init__(self, network: nn.Module, max_norm: float = 12.0) -> None:
        self.network, self.max_norm = network, max_norm

    def attach(self, engine: Engine) -> None:
        """Clip in every iteration of a :class:`monai.engines.SupervisedTrainer`."""
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Clip now."""
        nn.utils.clip_grad_norm_(self.network.parameters(), self.max_norm)
