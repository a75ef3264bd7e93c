"""Training of the reconstruction models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from monai_ext.engines.fixed_point_trainer import FixedPointTrainer, domain_batch
from monai_ext.engines.seeded_trainer import SeededTrainer
from monai_ext.errors import ConfigError
from monai_ext.losses import AutoencoderLoss, DiffusionLoss, FixedPointGeneratorLoss, RestorationLoss
from monai_ext.networks.nets import RECONSTRUCTORS, DomainHead, FixedPointDiscriminator
from monai_ext.processes import equal_weights
from monai_ext.transforms import SliceJitter, SyntheticLesions

__all__ = ["ReconstructionTrainer", "ReconstructionTraining"]


class ReconstructionTrainer(SeededTrainer):
    """Train a reconstruction model with one loss: autoencoders, diffusion with its classifier, and a restorer.

    The state's output holds the terms of the loss, scalars on the device.

    Args:
        device: device to train on.
        max_epochs: epochs to train.
        train_data_loader: yields dicts with ``image`` ``[B, C, H, W]``, ``domain`` int64 ``[B]`` and optionally
            ``gland`` ``[B, 1, H, W]``.
        network: model to train.
        optimizer: optimizer of the model's parameters.
        loss_function: loss, called as ``loss_function(network, image, domain, generator, gland)``; returns named terms,
            among them ``loss``.
        seed: seed of the random numbers that the loss draws.
        amp: bfloat16 where the hardware has it.
        train_handlers: handlers of the run.
    """

    def __init__(
        self,
        device: torch.device,
        max_epochs: int,
        train_data_loader: Iterable,
        network: nn.Module,
        optimizer: Optimizer,
        loss_function: nn.Module,
        seed: int = 0,
        amp: bool = True,
        train_handlers: Sequence | None = None,
    ) -> None:
        self.network, self.optimizer, self.loss_function = network, optimizer, loss_function
        super().__init__(device, max_epochs, train_data_loader, seed, amp, train_handlers=train_handlers)

    def _iteration(self, engine: Engine, batchdata: Mapping[str, Any]) -> dict[str, Tensor]:
        """One update."""
        state = self.state
        self.network.train()
        image, domain, gland = domain_batch(batchdata, state.device, self.non_blocking)
        with self.autocast():
            terms = self.loss_function(self.network, image, domain, self.draws(), gland)
        self.descend(terms["loss"], self.optimizer, self.network)
        return {name: value.detach() for name, value in terms.items()}


class Schedules:
    """Several schedules that are stepped, saved and restored as one."""

    def __init__(self, *schedules: LambdaLR) -> None:
        self.schedules = schedules

    def step(self) -> None:
        """One step of each."""
        for schedule in self.schedules:
            schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """State of each by its number."""
        return {str(i): {"last_epoch": s.last_epoch} for i, s in enumerate(self.schedules)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore each."""
        for i, schedule in enumerate(self.schedules):
            schedule.last_epoch = state[str(i)]["last_epoch"]


class ReconstructionTraining:
    """Optimizers, schedule, loss and trainer of a reconstruction model, by the recipe of its paper.

    All models train with Adam at 1e-4, constant over the first half of the run and then falling linearly to zero. (This
    is the schedule of the Fixed-Point GAN's paper; the decay of its published code has no effect.) ``fixed_point``:
    betas (0.5, 0.999), five discriminator updates per generator update, WGAN-GP. Autoencoders: L1. The restorer, which
    is not in the paper, learns from synthetic lesions with a weighted squared error.

    Args:
        name: of the model, see :func:`monai_ext.networks.nets.build_reconstructor`.
        network: the model, on its device.
        img_size: pixels of an image along an axis.
        steps: iterations of the run.
        lr: learning rate.
        norm: norm of an autoencoder's loss.
        adversarial_weight, domain_weight, cycle_weight, identity_weight: weights of the Fixed-Point GAN's generator
            loss; 1, 1, 10 and 10 in its paper, with an identity of 0.1 in its recipe for brain tumours.
        change_weight: of the change by a translation to the other domain, which is not in the paper.
        huber: of the norms of cycle, identity and change, see :class:`~monai_ext.losses.FixedPointGeneratorLoss`.
        clip_norm: largest norm of the Fixed-Point GAN's generator's gradient; None does not limit it.
        separate_head: True gives the discriminator a :class:`DomainHead` that has to be taught beforehand
            (:class:`DomainHeadTraining`, with ``method.head``), and shows it translated images jittered, as it has
            learned them; False classifies on its trunk, as in the paper.
        d_train_steps: discriminator updates per generator update.
        discriminator: options of :class:`FixedPointDiscriminator`.
        seed: seed of the training steps.
        amp: bfloat16 where the hardware has it.
        modality: of the images, for the restorer's lesions.
        spacing: mm per pixel, for the restorer's lesions.

    Raises:
        ConfigError: the name is unknown.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        img_size: int,
        steps: int,
        lr: float = 1e-4,
        norm: str = "l1",
        adversarial_weight: float = 1.0,
        domain_weight: float = 1.0,
        cycle_weight: float = 10.0,
        identity_weight: float = 10.0,
        change_weight: float = 0.0,
        huber: float = 0.0,
        clip_norm: float | None = None,
        d_train_steps: int = 5,
        separate_head: bool = False,
        discriminator: Mapping[str, Any] | None = None,
        seed: int = 0,
        amp: bool = True,
        modality: str = "adc",
        spacing: Sequence[float] = (0.75, 0.75),
    ) -> None:
        if name not in RECONSTRUCTORS:
            raise ConfigError(f"reconstructor {name!r} is none of {', '.join(RECONSTRUCTORS)}")
        self.name, self.network, self.seed, self.amp = name, network, seed, amp
        self.modality, self.spacing = modality, spacing
        self.norm, self.d_train_steps, self.clip_norm = norm, d_train_steps, clip_norm
        self.weights: dict[str, Any] = {
            "adversarial_weight": adversarial_weight,
            "domain_weight": domain_weight,
            "cycle_weight": cycle_weight,
            "identity_weight": identity_weight,
            "change_weight": change_weight,
            "huber": huber,
        }
        self.head = DomainHead() if name == "fixed_point" and separate_head else None
        device = next(network.parameters()).device
        self.device = device
        networks, betas = {"network": network}, (0.9, 0.999)
        if name == "fixed_point":
            betas = (0.5, 0.999)
            networks["discriminator"] = FixedPointDiscriminator(
                img_size, head=self.head, **dict(discriminator or {})
            ).to(device)
        for item in networks.values():
            equal_weights(item)
        self.networks = networks
        self.optimizers = {
            key: Adam(item.parameters(), lr=lr, betas=betas, fused=True) for key, item in networks.items()
        }
        # The generator's optimizer steps less often than the schedule, which counts iterations.
        half = steps / 2
        self.schedules = Schedules(
            *(LambdaLR(o, lambda i: min(1.0, max(0.0, (steps - i) / half))) for o in self.optimizers.values())
        )

    @property
    def objects(self) -> dict[str, Any]:
        """Objects that a resumed run needs, for :class:`monai_ext.handlers.TrainingRun`."""
        optimizers = {f"{key}_optimizer": item for key, item in self.optimizers.items()}
        return {**self.networks, **optimizers, "lr_scheduler": self.schedules}

    def trainer(self, max_epochs: int, train_data_loader: Iterable, train_handlers: Sequence) -> SeededTrainer:
        """The engine."""
        common: dict[str, Any] = {
            "device": self.device,
            "max_epochs": max_epochs,
            "train_data_loader": train_data_loader,
            "seed": self.seed,
            "amp": self.amp,
            "train_handlers": train_handlers,
        }
        if self.name == "fixed_point":
            return FixedPointTrainer(
                g_network=self.network,
                g_optimizer=self.optimizers["network"],
                d_network=self.networks["discriminator"],
                d_optimizer=self.optimizers["discriminator"],
                g_loss_function=FixedPointGeneratorLoss(**self.weights),
                d_train_steps=self.d_train_steps,
                clip_norm=self.clip_norm,
                jitter=None if self.head is None else SliceJitter(),
                **common,
            )
        loss: nn.Module = AutoencoderLoss(self.norm)
        if self.name == "diffusion":
            loss = DiffusionLoss()
        elif self.name == "restorer":
            loss = RestorationLoss(SyntheticLesions(self.modality, self.spacing))
        optimizer = self.optimizers["network"]
        return ReconstructionTrainer(network=self.network, optimizer=optimizer, loss_function=loss, **common)
