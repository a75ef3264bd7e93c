"""The learning rate as a function of the step, so that a resumed run needs no state for it."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

from ignite.engine import Engine, Events
from torch.optim import Optimizer

__all__ = ["LearningRate"]

Shape = Literal["constant", "cosine", "polynomial", "linear"]


class LearningRate:
    """Scale the optimizer's rates in every step of a run: linear warm-up, then down to zero.

    With T steps in all, W of them warm-up, and t steps done, the factor is t / W in the warm-up; after it, with
    p = (t - W) / (T - W): cosine (1 + cos(pi p)) / 2 (Loshchilov & Hutter 2017), polynomial (1 - p)^power (nnU-Net),
    constant 1, or linear: 1 in the first half of the run, then down to zero on a line.

    With a head start, H more steps come first: up to 1 in half of them, and down to zero as the polynomial in the
    others. It is for a decoder beside a pretrained encoder that :class:`FreezeUntil` holds meanwhile (the "sawtooth" of
    nnU-Net's fine-tuning from nnssl, TaWald/nnUNet).

    Args:
        shape: see above.
        warmup: share of the run over which the rate rises from zero.
        power: of the polynomial.
        head_start: share of the run before the warm-up.

    Raises:
        ValueError: the shape is unknown, or warm-up and head start are no shares of the run, together below 1.

    Example:
        >>> rate = LearningRate("cosine", warmup=0.2)
        >>> [round(rate.factor(step, 10), 3) for step in (0, 1, 2, 6, 10)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """

    def __init__(
        self, shape: Shape = "cosine", warmup: float = 0.0, power: float = 0.9, head_start: float = 0.0
    ) -> None:
        if shape not in get_args(Shape):
            raise ValueError(f"shape {shape!r} is none of {', '.join(get_args(Shape))}")
        for name, share in (("warmup", warmup), ("head_start", head_start)):
            if not 0 <= share < 1 or warmup + head_start >= 1:
                raise ValueError(f"{name} must be a share of the run, with the other below 1, got {share}")
        self.shape, self.warmup, self.power, self.head_start = shape, warmup, power, head_start
        self._rates: list[list[float]] = []

    def factor(self, step: int, steps: int) -> float:
        """Factor of the rates in a step.

        Args:
            step: steps done before it.
            steps: steps of the run.
        """
        head = round(self.head_start * steps)
        if step < head:
            rise = head // 2
            return step / rise if step < rise else (1 - (step - rise) / (head - rise)) ** self.power
        warm = int(self.warmup * steps)
        step, steps = step - head, steps - head
        if step < warm:
            return step / warm
        progress = min(1.0, (step - warm) / max(1, steps - warm))
        if self.shape == "cosine":
            return 0.5 * (1 + math.cos(math.pi * progress))
        if self.shape == "polynomial":
            return (1 - progress) ** self.power
        return 1.0 if self.shape == "constant" else min(1.0, 2 * (1 - progress))

    def attach(self, engine: Engine, *optimizers: Optimizer) -> None:
        """Set the rates before each step of the engine.

        Args:
            engine: a trainer.
            optimizers: whose rates, which are those of now at a factor of 1; the engine's ``optimizer`` if none.
        """
        self.optimizers = optimizers or (engine.optimizer,)  # type: ignore[attr-defined]
        self._rates = [[group["lr"] for group in item.param_groups] for item in self.optimizers]
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Set the rates of this step."""
        state: Any = engine.state
        factor = self.factor(state.iteration - 1, state.max_epochs * state.epoch_length)
        for optimizer, rates in zip(self.optimizers, self._rates):
            for group, rate in zip(optimizer.param_groups, rates):  # a resumed run has new groups
                group["lr"] = rate * factor
