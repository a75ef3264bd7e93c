"""Masked pretraining: one training step for all methods that hide patches and reconstruct them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.metrics import Average
from monai.engines import Evaluator
from monai.utils import ForwardMode
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from monai_ext.engines.seeded_trainer import SeededTrainer, seed_step
from monai_ext.maskers import Masker
from monai_ext.metrics import ReconstructionSkill, Summary
from monai_ext.networks.precision import autocast
from monai_ext.processes import distribute

__all__ = ["MaskedEvaluator", "MaskedPretrainer"]


def _to_device(batch: dict[str, Any], device: torch.device, non_blocking: bool) -> dict[str, Any]:
    return {k: v.to(device, non_blocking=non_blocking) if isinstance(v, Tensor) else v for k, v in batch.items()}


class MaskedPretrainer(SeededTrainer):
    """Hide patches, reconstruct them, learn from the error.

    The papers differ only in the masker, network and loss that their configs name. The state's output holds ``image``,
    ``mask``, ``pred`` and ``loss``, all on the device.

    Args:
        device: device to train on.
        max_epochs: epochs to train.
        train_data_loader: yields dicts with ``image`` ``[B, C, *spatial]`` and what the masker needs.
        network: network to pretrain, called as ``network(image, mask)``.
        masker: masker, called as ``masker(batch, progress, generator)`` with progress = finished epochs /
            ``max_epochs``.
        loss_function: loss, called as ``loss_function(pred, image, mask)``.
        optimizer: optimizer of the network's parameters.
        seed: seed of the masks.
        amp: bfloat16 where the hardware has it.
        clip_norm: largest norm of the gradient; None does not limit it.
        train_handlers: handlers of the run.
    """

    def __init__(
        self,
        device: torch.device,
        max_epochs: int,
        train_data_loader: Iterable,
        network: nn.Module,
        masker: Masker,
        loss_function: Callable[[Tensor, Tensor, Tensor], Tensor],
        optimizer: Optimizer,
        seed: int = 0,
        amp: bool = True,
        clip_norm: float | None = None,
        train_handlers: Sequence | None = None,
    ) -> None:
        self.network = distribute(network, device)
        self.masker = masker.to(device)
        self.loss_function = loss_function
        self.optimizer = optimizer
        self.clip_norm = clip_norm
        super().__init__(device, max_epochs, train_data_loader, seed, amp, train_handlers=train_handlers)

    def _iteration(self, engine: Engine, batchdata: dict[str, Any]) -> dict[str, Tensor]:
        """One update of the network."""
        state = self.state
        self.network.train()
        batch = _to_device(batchdata, state.device, self.non_blocking)
        mask = self.masker(batch, (state.epoch - 1) / state.max_epochs, self.draws())
        with self.autocast():
            pred = self.network(batch["image"], mask)
        loss = self.loss_function(pred, batch["image"], mask)
        self.optimizer.zero_grad()
        loss.backward()
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.clip_norm)
        self.optimizer.step()
        return {"image": batch["image"], "mask": mask, "pred": pred.detach(), "loss": loss.detach()}


class MaskedEvaluator(Evaluator):
    """The reconstruction error on validation data, with the same masks in every epoch; lower is better.

    Its key metric is ``val_loss``. Beside it stand the values of :class:`~monai_ext.metrics.ReconstructionSkill`, what
    the network explains beyond trivial fills, which is the same number whatever the loss. Arguments as in
    :class:`MaskedPretrainer`; ``progress`` is the schedule position at which the masks are drawn, ``channels`` are the
    names of the image's channels.
    """

    def __init__(
        self,
        device: torch.device,
        val_data_loader: Iterable,
        network: nn.Module,
        masker: Masker,
        loss_function: Callable[[Tensor, Tensor, Tensor], Tensor],
        seed: int = 0,
        amp: bool = True,
        progress: float = 0.0,
        val_handlers: Sequence | None = None,
        channels: Sequence[str] = (),
    ) -> None:
        self.network = network
        self.masker = masker.to(device)
        self.loss_function = loss_function
        self.seed = seed
        self.progress = progress
        self.generator = Generator(device)
        super().__init__(
            device=device,
            val_data_loader=val_data_loader,
            key_val_metric={"val_loss": Average(output_transform=lambda output: output["loss"], device=device)},
            metric_cmp_fn=lambda current, best: current < best,
            val_handlers=val_handlers,
            amp=amp,
            mode=ForwardMode.EVAL,
            decollate=False,
        )
        targets = {key: getattr(loss_function, key, False) for key in ("normalize", "per_channel")}
        self.skill = ReconstructionSkill(getattr(loss_function, "patch_size", ()), **targets, channels=channels)
        self.add_event_handler(Events.EPOCH_STARTED, self.skill.reset)
        self.add_event_handler(Events.EPOCH_COMPLETED, self._add_skill)

    def _add_skill(self) -> None:
        """Beside the key metric, for curves and logs."""
        self.skill.gather()
        self.state.metrics |= {name: value for name, value in self.skill.compute().items() if value == value}

    def summary(self) -> dict[str, Summary]:
        """The skill of the last validation, for the report."""
        return self.skill.summary()

    def _iteration(self, engine: Engine, batchdata: dict[str, Any]) -> dict[str, Tensor]:
        """Reconstruction of one batch."""
        state = self.state
        self.network.eval()
        batch = _to_device(batchdata, state.device, self.non_blocking)
        with torch.no_grad():
            mask = self.masker(batch, self.progress, seed_step(self.generator, self.seed, state.iteration))
            with autocast(state.device, self.amp):
                pred = self.network(batch["image"], mask)
            loss = self.loss_function(pred, batch["image"], mask)
        if self.skill.patch_size:
            self.skill.update(batch["image"], mask, pred)
        return {"image": batch["image"], "mask": mask, "pred": pred, "loss": loss}
