"""Base of the trainers of this package: random numbers that a resumed run repeats, and bfloat16."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager

import torch
from ignite.engine import EventEnum
from monai.engines import Trainer
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from monai_ext.networks.precision import autocast
from monai_ext.processes import average_gradients

__all__ = ["SeededTrainer", "seed_step"]


def seed_step(generator: Generator, *numbers: int) -> Generator:
    """Seed ``generator`` by numbers that name a step, such as (seed, rank, iteration), and return it."""
    return generator.manual_seed(hash(numbers) & 0x7FFF_FFFF_FFFF_FFFF)


class SeededTrainer(Trainer):
    """MONAI's trainer for the training steps of this package.

    A step draws its random numbers from :meth:`draws`, a generator on the device that is seeded anew in each step, so a
    resumed run draws the same numbers as an uninterrupted one. A step runs its networks under :meth:`autocast`.

    Args:
        device: device to train on.
        max_epochs: epochs to train.
        train_data_loader: yields dicts of batches.
        seed: seed of the random numbers that the steps draw.
        amp: bfloat16 where the hardware has it.
        epoch_length: iterations of an epoch, when it is not the length of the loader.
        event_names: events of the step's own.
        train_handlers: handlers of the run.
    """

    def __init__(
        self,
        device: torch.device,
        max_epochs: int,
        train_data_loader: Iterable,
        seed: int = 0,
        amp: bool = True,
        epoch_length: int | None = None,
        event_names: list[str | EventEnum | type[EventEnum]] | None = None,
        train_handlers: Sequence | None = None,
    ) -> None:
        self.seed, self.bf16 = seed, amp
        self.generator = Generator(device)
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            data_loader=train_data_loader,
            epoch_length=epoch_length,
            non_blocking=True,
            event_names=event_names,
            handlers=train_handlers,
            amp=False,  # MONAI's flag makes a gradient scaler, which bfloat16 does not need
            decollate=False,
        )

    def descend(self, loss: Tensor, optimizer: Optimizer, network: nn.Module) -> None:
        """One step of an optimizer of ``network`` down the gradient of ``loss``, averaged over all processes."""
        optimizer.zero_grad()
        loss.backward()
        average_gradients(network.parameters())
        optimizer.step()

    def draws(self) -> Generator:
        """The generator of this step, seeded with (seed, rank, iteration)."""
        return seed_step(self.generator, self.seed, self.state.rank, self.state.iteration)

    def autocast(self) -> AbstractContextManager:
        """bfloat16 for the networks of a step, if ``amp`` is set."""
        return autocast(self.state.device, self.bf16)
