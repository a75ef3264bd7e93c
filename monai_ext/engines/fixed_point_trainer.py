"""Adversarial training of the Fixed-Point GAN."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine
from monai.utils import AdversarialIterationEvents as Events
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from monai_ext.engines.seeded_trainer import SeededTrainer
from monai_ext.losses import AdversarialLoss, FixedPointDiscriminatorLoss, FixedPointGeneratorLoss
from monai_ext.processes import average_gradients

__all__ = ["FixedPointTrainer"]

D_EVENTS = (
    Events.DISCRIMINATOR_LOSS_COMPLETED,
    Events.DISCRIMINATOR_BACKWARD_COMPLETED,
    Events.DISCRIMINATOR_MODEL_COMPLETED,
)
G_EVENTS = (
    Events.GENERATOR_LOSS_COMPLETED,
    Events.GENERATOR_BACKWARD_COMPLETED,
    Events.GENERATOR_MODEL_COMPLETED,
)


def domain_batch(
    batch: Mapping[str, Any], device: torch.device, non_blocking: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Images, domains and glands, if any, on the device, as plain tensors: metadata would slow every operation."""
    image, domain = (torch.as_tensor(batch[key]).as_subclass(Tensor) for key in ("image", "domain"))
    gland = batch.get("gland")
    if gland is not None:
        gland = torch.as_tensor(gland).as_subclass(Tensor).to(device, torch.bool, non_blocking)
    return image.to(device, non_blocking=non_blocking), domain.to(device, torch.int64, non_blocking), gland


class FixedPointTrainer(SeededTrainer):
    """Train a generator against a discriminator (Fixed-Point GAN; WGAN-GP's schedule).

    One iteration is one discriminator update on a new batch, as in the paper's count of 200,000. Every
    ``d_train_steps``-th iteration also updates the generator on that batch; the iteration number decides which, so a
    resumed run continues the pattern. Checkpoint both networks, both optimizers and the trainer.

    The paper's optimizers are ``Adam(lr=1e-4, betas=(0.5, 0.999))`` (``fused=True`` saves 0.3 s per update of the
    discriminator on a CPU core) with a linear decay to zero over the second half:
    ``SequentialLR([ConstantLR(factor=1), LinearLR(end_factor=0)])`` stepped per iteration. (The published
    code's decay has no effect.)

    The state's output holds ``loss`` (what this iteration minimised), ``d_loss`` with ``d_critic``, ``d_domain``,
    ``d_penalty``, and ``g_loss`` with ``g_adversarial``, ``g_domain``, ``g_cycle``, ``g_identity`` of the latest
    generator update (zero before the first): scalars on the device. Events: MONAI's ``AdversarialIterationEvents``
    ``{DISCRIMINATOR,GENERATOR}_{LOSS,BACKWARD,MODEL}_COMPLETED``.

    Args:
        device: device to train on.
        max_epochs: epochs to train.
        train_data_loader: yields dicts with ``image`` ``[B, C, H, W]``, ``domain`` int64 ``[B]`` and optionally
            ``gland`` ``[B, 1, H, W]``, outside which the generator changes nothing.
        g_network: generator, called as ``g_network(image, domain)``.
        g_optimizer: optimizer of the generator's parameters.
        d_network: discriminator, called as ``d_network(image)``.
        d_optimizer: optimizer of the discriminator's parameters.
        g_loss_function: loss of the generator.
        d_loss_function: loss of the discriminator.
        d_train_steps: discriminator updates per generator update.
        clip_norm: largest norm of the generator's gradient; None does not limit it.
        jitter: moves and disturbs translated images and their gland before the discriminator's ``head`` tells their
            domain, so that the generator has to change what still counts then (expectation over transformations,
            Athalye et al. 2018), not single pixels. None judges them as they are.
        seed: seed of the target domains and of the gradient penalty.
        amp: bfloat16 where the hardware has it.
        epoch_length: iterations of an epoch, when it is not the length of the loader.
        train_handlers: handlers of the run.

    Raises:
        ValueError: when ``d_train_steps`` is less than 1.
    """

    def __init__(
        self,
        device: torch.device,
        max_epochs: int,
        train_data_loader: Iterable,
        g_network: nn.Module,
        g_optimizer: Optimizer,
        d_network: nn.Module,
        d_optimizer: Optimizer,
        g_loss_function: AdversarialLoss | None = None,
        d_loss_function: AdversarialLoss | None = None,
        d_train_steps: int = 5,
        clip_norm: float | None = None,
        jitter: nn.Module | None = None,
        seed: int = 0,
        amp: bool = True,
        epoch_length: int | None = None,
        train_handlers: Sequence | None = None,
    ) -> None:
        if d_train_steps < 1:
            raise ValueError(f"d_train_steps must be at least 1, not {d_train_steps}")
        self.g_network, self.g_optimizer = g_network, g_optimizer
        self.d_network, self.d_optimizer = d_network, d_optimizer
        self.g_loss_function = FixedPointGeneratorLoss() if g_loss_function is None else g_loss_function
        self.d_loss_function = FixedPointDiscriminatorLoss() if d_loss_function is None else d_loss_function
        self.d_train_steps, self.jitter = d_train_steps, jitter
        self.g_terms = {name: torch.zeros((), device=device) for name in ("loss", *self.g_loss_function.terms)}
        super().__init__(
            device,
            max_epochs,
            train_data_loader,
            seed,
            amp,
            epoch_length,
            event_names=[Events],
            train_handlers=train_handlers,
        )
        if clip_norm is not None:
            parameters = [parameter for group in g_optimizer.param_groups for parameter in group["params"]]
            self.add_event_handler(G_EVENTS[1], lambda: nn.utils.clip_grad_norm_(parameters, clip_norm))

    def _translation(self, gland: Tensor | None) -> Callable[[Tensor, Tensor], Tensor]:
        """The generator, held to the gland; a loss may repeat the batch."""
        if gland is None:
            return self.g_network
        return lambda image, domain: self.g_network(image, domain, gland.repeat(len(image) // len(gland), 1, 1, 1))

    def _judge(self, gland: Tensor | None, draws: Generator) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """The discriminator of translated images, whose head sees them jittered; a loss may repeat the batch."""
        if self.jitter is None or gland is None:
            return self.d_network
        jitter: nn.Module = self.jitter
        head: nn.Module = getattr(self.d_network, "module", self.d_network).head  # type: ignore[assignment]

        def judge(image: Tensor) -> tuple[Tensor, Tensor]:
            value, _ = self.d_network(image)
            moved, _ = jitter(image.float(), gland.repeat(len(image) // len(gland), 1, 1, 1), draws)
            return value, head(moved)

        return judge

    def _update(
        self, optimizer: Optimizer, loss_function: AdversarialLoss, events: tuple[Events, Events, Events], *args: Any
    ) -> dict[str, Tensor]:
        """One step of one optimizer; the loss and its terms."""
        with self.autocast():
            terms = loss_function(*args)
        self.fire_event(events[0])
        optimizer.zero_grad()
        terms["loss"].backward()
        average_gradients(parameter for group in optimizer.param_groups for parameter in group["params"])
        self.fire_event(events[1])
        optimizer.step()
        self.fire_event(events[2])
        return {name: value.detach() for name, value in terms.items()}

    def _iteration(self, engine: Engine, batchdata: Mapping[str, Any]) -> dict[str, Tensor]:
        """One discriminator update and, when its turn has come, one generator update."""
        state = self.state
        self.g_network.train()
        self.d_network.train()
        image, domain, gland = domain_batch(batchdata, state.device, self.non_blocking)
        translate = self._translation(gland)
        draws = self.draws()

        d_terms = self._update(
            self.d_optimizer, self.d_loss_function, D_EVENTS, translate, self.d_network, image, domain, draws
        )
        loss = d_terms["loss"]
        if state.iteration % self.d_train_steps == 0:
            # The discriminator is frozen: its weights get no gradients.
            learning = [p for p in self.d_network.parameters() if p.requires_grad]
            self.d_network.requires_grad_(False)
            judge = self._judge(gland, draws)
            self.g_terms = self._update(
                self.g_optimizer, self.g_loss_function, G_EVENTS, translate, judge, image, domain, draws
            )
            for parameter in learning:  # all but a head that has been taught before
                parameter.requires_grad_(True)
            loss = loss + self.g_terms["loss"]
        return {
            "loss": loss,
            **{f"d_{name}": value for name, value in d_terms.items()},
            **{f"g_{name}": value for name, value in self.g_terms.items()},
        }
