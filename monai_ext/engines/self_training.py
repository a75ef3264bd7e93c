"""Self-training: a teacher labels scans that have no label, and a student learns them beside those that have one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.inferers import Inferer, SimpleInferer
from torch import Tensor, nn
from torch.optim import Optimizer

from monai_ext.engines.seeded_trainer import SeededTrainer
from monai_ext.handlers import EMA
from monai_ext.losses import DeepSupervisionLoss, SureVoxelLoss, sure_labels
from monai_ext.losses.sure_voxels import UNSURE
from monai_ext.processes import distribute
from monai_ext.transforms import BatchAugmentation, CutMix

__all__ = ["SelfTrainer", "ramp_up"]


def ramp_up(progress: float, length: float) -> float:
    """exp(-5 (1 - t)^2) with t = progress / length, at most 1 (Laine & Aila, Temporal ensembling, ICLR 2017).

    Args:
        progress: share of the run that is done.
        length: share of the run over which the weight rises; 0 for none.

    Example:
        >>> [round(ramp_up(progress, 0.5), 3) for progress in (0, 0.25, 0.5, 1)]
        [0.007, 0.287, 1.0, 1.0]
    """
    return math.exp(-5 * (1 - min(1.0, progress / length)) ** 2) if length else 1.0


class SelfTrainer(SeededTrainer):
    """Mean teacher with sure labels: L = L_labelled + w(t) L_unlabelled in each step.

    - The teacher, a moving average of the student (Tarvainen & Valpola, Mean teachers, NeurIPS 2017), labels a view of
      the unlabelled scans that is only moved. The student sees the same view with changed intensities, and with boxes
      of another scan in it (:class:`~monai_ext.transforms.CutMix`), and learns the voxels whose label the teacher is
      sure of (FixMatch, Sohn et al., NeurIPS 2020; for segmentation UniMatch, Yang et al., CVPR 2023).
    - L_labelled is that of :class:`SegmentationTrainer`, on batches that are augmented as there.
    - w rises by :func:`ramp_up`.

    The teacher starts as what the student is at the first step. The two losses take two passes, one after the other, so
    a step needs no more memory than one of the training, apart from the teacher's weights. The state's output holds
    ``loss``, and ``sure``, the share of the unlabelled voxels that were learned; its mean over an epoch is the metric
    ``sure_share``.

    Args:
        device: device to train on.
        max_epochs: epochs to train.
        train_data_loader: yields dicts with ``image`` ``[B, C, *spatial]``, ``label`` ``[B, 1, *spatial]`` and
            ``unlabelled`` ``[b, C, *spatial]``, see :class:`~monai_ext.data.PairedLoader`.
        network: the student.
        ema: holds the teacher; this trainer updates it.
        optimizer: optimizer of the student's parameters.
        loss_function: loss of the labelled batch, called as ``loss_function(pred, label)``.
        views: makes the two views of the unlabelled batch; None takes it as it comes.
        augmentation: changes the labelled batch; None for none.
        mix: share of the unlabelled items that get a box of another one.
        confidence: smallest probability of the teacher's class that is learned.
        weight: w at the end.
        ramp: share of the run over which w rises.
        seed: seed of all that a step draws.
        inferer: how the student runs over a batch, bfloat16 included.
        clip_norm: largest norm of the gradient; None does not limit it.
        train_handlers: handlers of the run.

    Raises:
        ValueError: ``confidence`` is no probability, ``weight`` is negative, or ``clip_norm`` is not positive.
    """

    def __init__(
        self,
        device: torch.device,
        max_epochs: int,
        train_data_loader: Iterable,
        network: nn.Module,
        ema: EMA,
        optimizer: Optimizer,
        loss_function: Callable[..., Tensor],
        views: BatchAugmentation | None = None,
        augmentation: BatchAugmentation | None = None,
        mix: float = 0.5,
        confidence: float = 0.6,
        weight: float = 1.0,
        ramp: float = 0.25,
        seed: int = 0,
        inferer: Inferer | None = None,
        clip_norm: float | None = None,
        train_handlers: Sequence | None = None,
    ) -> None:
        if not 0 < confidence <= 1 or weight < 0 or (clip_norm is not None and clip_norm <= 0):
            raise ValueError(
                f"a probability, a weight and a positive norm are expected, got {confidence}, {weight}, {clip_norm}"
            )
        self.network, self.optimizer = distribute(network, device), optimizer
        self.ema, self.loss_function = ema, loss_function
        self.unlabelled_loss = DeepSupervisionLoss(SureVoxelLoss())  # type: ignore[arg-type]
        self.views, self.augmentation, self.mix = views, augmentation, CutMix(mix)
        self.confidence, self.weight, self.ramp, self.clip_norm = confidence, weight, ramp, clip_norm
        self.inferer = SimpleInferer() if inferer is None else inferer
        super().__init__(device, max_epochs, train_data_loader, seed, train_handlers=train_handlers)
        self.shares: list[Tensor] = []
        self.add_event_handler(Events.EPOCH_STARTED, self.shares.clear)
        self.add_event_handler(Events.EPOCH_COMPLETED, self._mean_share)

    def _iteration(self, engine: Engine, batchdata: dict[str, Any]) -> dict[str, Tensor]:
        """One update of the student, then of the teacher."""
        state, generator = self.state, self.draws()
        if state.iteration == 1:
            self.ema.update_to_student()
        progress = (state.iteration - 1) / (state.max_epochs * state.epoch_length)
        self.network.train()
        self.optimizer.zero_grad()
        image, label = self._labelled(batchdata, generator)
        labelled = self.loss_function(self.inferer(image, self.network), label)
        labelled.backward()
        image, label = self._unlabelled(batchdata, generator)
        unlabelled = self.unlabelled_loss(self.inferer(image, self.network), label)
        unlabelled = self.weight * ramp_up(progress, self.ramp) * unlabelled
        unlabelled.backward()
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.clip_norm)
        self.optimizer.step()
        self.ema.update(progress)
        self.shares.append((label != UNSURE).float().mean())
        return {"loss": (labelled + unlabelled).detach(), "sure": self.shares[-1]}

    def _on_device(self, values: Tensor) -> Tensor:
        return values.to(self.state.device, non_blocking=self.non_blocking).as_subclass(Tensor)

    def _labelled(self, batch: dict[str, Any], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Image and label of the labelled batch, augmented."""
        image, label = (self._on_device(batch[key]) for key in ("image", "label"))
        if self.augmentation is None:
            return image, label
        image, label = self.augmentation(image, label, self._numbers(0), generator)  # type: ignore[assignment]
        return image, label

    def _unlabelled(self, batch: dict[str, Any], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """What the student sees of the unlabelled batch, and the teacher's labels of it."""
        weak = strong = self._on_device(batch["unlabelled"])
        if self.views is not None:
            weak, strong = self.views.views(weak, self._numbers(1), generator)
        return self.mix(strong, sure_labels(self.ema.predict(weak), self.confidence), self._numbers(2))

    def _numbers(self, part: int) -> tuple[int, ...]:
        """Name a part of this step."""
        return (self.seed, self.state.rank, self.state.iteration, part)

    def _mean_share(self) -> None:
        self.state.metrics["sure_share"] = float(torch.stack(self.shares).mean()) if self.shares else 0.0
