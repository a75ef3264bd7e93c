"""Exponential moving average of the weights: a teacher that slowly follows the student."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from monai_ext.networks.precision import autocast

__all__ = ["EMA"]


class EMA:
    """Exponential moving average of a network's weights (AnatoMask, eq. 1): teacher = m teacher + (1 - m) student.

    The momentum m rises linearly from ``momentum`` to ``final_momentum`` over the first quarter of the run. It depends
    only on the iteration, so a resumed run continues the schedule; add this object to the checkpoint's objects.
    (ignite's ``EMAHandler`` warms up by its own count of events, has no state, and makes the average share the
    student's buffers.)

    Args:
        network: the student, on its device; it may be wrapped for several devices.
        momentum: m at the first update.
        final_momentum: m after the warm-up; None keeps ``momentum``. ``momentum = final_momentum = 1`` never updates
            the teacher (Table 2, no self-distillation).
        warmup: share of the run over which m rises.
        amp: True lets :meth:`predict` compute in bfloat16 where the hardware has it.

    Raises:
        ValueError: when a momentum or the warm-up lies outside [0, 1].
    """

    def __init__(
        self,
        network: nn.Module,
        momentum: float = 0.999,
        final_momentum: float | None = 0.9999,
        warmup: float = 0.25,
        amp: bool = True,
    ) -> None:
        final_momentum = momentum if final_momentum is None else final_momentum
        if not all(0 <= value <= 1 for value in (momentum, final_momentum, warmup)):
            raise ValueError(f"must lie in [0, 1]: momenta {momentum}, {final_momentum}, warm-up {warmup}")
        self.student = network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network
        self.momentum, self.final_momentum, self.warmup = momentum, final_momentum, warmup
        self.amp = amp
        #: The average: evaluation mode, no gradients, averaged buffers too.
        self.teacher: nn.Module = deepcopy(self.student).eval().requires_grad_(False)

    def attach(self, engine: Engine) -> None:
        """Update after every iteration."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Update once."""
        state: Any = engine.state
        self.update((state.iteration - 1) / (state.max_epochs * state.epoch_length))

    def momentum_at(self, progress: float) -> float:
        """Momentum m after a share ``progress`` of the run's updates."""
        share = min(1.0, progress / self.warmup) if self.warmup else 1.0
        return self.momentum + share * (self.final_momentum - self.momentum)

    def update_to_student(self) -> None:
        """Make the teacher what the student is now, such as after the student has loaded weights."""
        self.teacher.load_state_dict(self.student.state_dict())

    @torch.no_grad()
    def update(self, progress: float = 1.0) -> None:
        """Move the teacher towards the student with the momentum after a share ``progress`` of the run's updates."""
        pairs = list(zip(self.teacher.state_dict().values(), self.student.state_dict().values()))
        averages = [(mine, its) for mine, its in pairs if mine.is_floating_point()]
        get_ema_multi_avg_fn(self.momentum_at(progress))(*map(list, zip(*averages)), 1)
        for mine, its in pairs:
            if not mine.is_floating_point():  # counters
                mine.copy_(its)

    @torch.no_grad()
    def predict(self, *inputs: Tensor) -> Tensor:
        """The teacher's output without gradient, for a masker."""
        with autocast(inputs[0].device, self.amp):
            return self.teacher(*inputs)

    def state_dict(self) -> dict[str, Tensor]:
        """The teacher's weights."""
        return self.teacher.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the teacher's weights."""
        self.teacher.load_state_dict(state)
