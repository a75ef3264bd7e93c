"""Contrastive pretraining: two views of each image, one loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from ignite.engine import Engine
from monai.engines import Trainer
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from monai_ext.inferers import autocast

__all__ = ["ContrastivePretrainer"]


class ContrastivePretrainer(Trainer):
    """Draw two views of a batch and minimize the network's loss of them.

    The views of a step are drawn from a generator seeded with (seed, rank, iteration): a resumed run draws what the
    uninterrupted one would have drawn.

    Args:
        device: where to train.
        max_epochs: epochs to train.
        train_data_loader: yields dicts with ``image`` ``[B, C, H, W]``.
        network: called as ``network(first, second)``, gives the loss; ``advance(progress)`` after each update, see
            :class:`monai_ext.networks.nets.ContrastiveNetwork`.
        view: called as ``view(image, generator)``.
        optimizer: of the network's parameters.
        seed: of the views.
        amp: bfloat16 where the hardware has it.
        train_handlers: handlers of the run.
    """

    def __init__(
        self,
        device: torch.device,
        max_epochs: int,
        train_data_loader: Iterable,
        network: nn.Module,
        view: Callable[[Tensor, Generator], Tensor],
        optimizer: Optimizer,
        seed: int = 0,
        amp: bool = True,
        train_handlers: Sequence | None = None,
    ) -> None:
        self.network, self.view, self.optimizer = network, view, optimizer
        self.seed = seed
        self.generator = Generator(device)
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            data_loader=train_data_loader,
            non_blocking=True,
            handlers=train_handlers,
            amp=amp,
            decollate=False,
        )

    def _iteration(self, engine: Engine, batchdata: dict[str, Any]) -> dict[str, Tensor]:
        """One update of the network."""
        state = self.state
        self.network.train()
        image = batchdata["image"].to(state.device, non_blocking=self.non_blocking)
        self.generator.manual_seed(hash((self.seed, state.rank, state.iteration)) & 0x7FFF_FFFF_FFFF_FFFF)
        first, second = self.view(image, self.generator), self.view(image, self.generator)
        with autocast(state.device, self.amp):
            loss = self.network(first, second)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        network: Any = getattr(self.network, "module", self.network)
        network.advance(state.iteration / (state.max_epochs * state.epoch_length))
        return {"image": image, "loss": loss.detach()}
