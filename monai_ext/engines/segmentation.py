"""Supervised segmentation: MONAI's trainer as every bundle uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from monai.engines import SupervisedTrainer
from monai.inferers import Inferer
from torch import nn
from torch.optim import Optimizer

from monai_ext.processes import distribute

__all__ = ["SegmentationTrainer"]


class SegmentationTrainer(SupervisedTrainer):
    """MONAI's supervised trainer; under torchrun its processes average their gradients.

    Args:
        device: device to train on.
        max_epochs: epochs to train.
        train_data_loader: yields dicts with ``image`` and ``label``.
        network: network to train, already on its device.
        optimizer: optimizer of the network's parameters.
        loss_function: loss, called as ``loss_function(pred, label)``.
        inferer: how the network runs over a batch, bfloat16 included.
        train_handlers: handlers of the run.

    Example:
        >>> network = nn.Conv2d(1, 2, 1)
        >>> trainer = SegmentationTrainer(
        ...     torch.device("cpu"), 1, [{"image": torch.ones(1, 1, 4, 4), "label": torch.zeros(1, 1, 4, 4)}],
        ...     network, torch.optim.SGD(network.parameters(), 0.1), lambda pred, label: pred.square().mean(),
        ... )
        >>> trainer.run()
        >>> trainer.state.iteration
        1
    """

    def __init__(
        self,
        device: torch.device,
        max_epochs: int,
        train_data_loader: Iterable,
        network: nn.Module,
        optimizer: Optimizer,
        loss_function: Callable[..., Any],
        inferer: Inferer | None = None,
        train_handlers: Sequence | None = None,
    ) -> None:
        self.network, self.optimizer = distribute(network, device), optimizer  # handlers ask for them when they attach
        super().__init__(
            device,
            max_epochs,
            train_data_loader,
            self.network,
            optimizer,
            loss_function,
            inferer=inferer,
            train_handlers=train_handlers,
            decollate=False,
        )
