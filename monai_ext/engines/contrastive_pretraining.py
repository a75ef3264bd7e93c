"""Contrastive pretraining: two views of each image, one loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from ignite.engine import Engine
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from monai_ext.engines.seeded_trainer import SeededTrainer
from monai_ext.processes import distribute

__all__ = ["ContrastivePretrainer"]


class ContrastivePretrainer(SeededTrainer):
    """Draw two views of a batch and minimize the network's loss on them.

    Args:
        device: device to train on.
        max_epochs: epochs to train.
        train_data_loader: yields dicts with ``image`` ``[B, C, H, W]``.
        network: network that returns the loss as ``network(first, second)`` and has ``advance(progress)``, called after
            each update; see :class:`monai_ext.networks.nets.ContrastiveNetwork`.
        view: random view of an image, called as ``view(image, generator)``.
        optimizer: optimizer of the network's parameters.
        seed: seed of the views.
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
        self.network, self.view, self.optimizer = distribute(network, device), view, optimizer
        super().__init__(device, max_epochs, train_data_loader, seed, amp, train_handlers=train_handlers)

    def _iteration(self, engine: Engine, batchdata: dict[str, Any]) -> dict[str, Tensor]:
        """One update of the network."""
        state = self.state
        self.network.train()
        image = batchdata["image"].to(state.device, non_blocking=self.non_blocking)
        draws = self.draws()
        first, second = self.view(image, draws), self.view(image, draws)
        with self.autocast():
            loss = self.network(first, second)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        network: Any = getattr(self.network, "module", self.network)
        network.advance(state.iteration / (state.max_epochs * state.epoch_length))
        return {"image": image, "loss": loss.detach()}
