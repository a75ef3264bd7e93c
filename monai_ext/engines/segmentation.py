"""Supervised segmentation: MONAI's trainer and evaluator as every bundle uses them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from ignite.metrics import Metric
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator, SupervisedTrainer, default_prepare_batch
from monai.engines.utils import IterationEvents
from monai.inferers import Inferer
from torch import Generator, Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import Dataset

from monai_ext.engines.seeded_trainer import seed_step
from monai_ext.processes import distribute
from monai_ext.transforms import BatchAugmentation

__all__ = ["SegmentationEvaluator", "SegmentationTrainer"]


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
        clip_norm: norm to which the gradient of all weights is scaled down where it is larger (12 in nnU-Net); None
            does not limit it.
        augmentation: changes each batch on the device. It draws by (seed, rank, iteration): a resumed run repeats it.
        seed: seed of the augmentation.

    Raises:
        ValueError: ``clip_norm`` is not positive.

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
        clip_norm: float | None = None,
        augmentation: BatchAugmentation | None = None,
        seed: int = 0,
    ) -> None:
        if clip_norm is not None and clip_norm <= 0:
            raise ValueError(f"clip_norm must be positive, got {clip_norm}")
        self.network, self.optimizer = distribute(network, device), optimizer  # handlers ask for them when they attach
        self.augmentation, self.seed, self.generator = augmentation, seed, Generator(device)
        super().__init__(
            device,
            max_epochs,
            train_data_loader,
            self.network,
            optimizer,
            loss_function,
            non_blocking=True,
            prepare_batch=self._prepare,
            inferer=inferer,
            train_handlers=train_handlers,
            decollate=False,
        )
        if clip_norm is not None:
            parameters = list(self.network.parameters())
            self.add_event_handler(
                IterationEvents.BACKWARD_COMPLETED, lambda: nn.utils.clip_grad_norm_(parameters, clip_norm)
            )

    def _prepare(self, batch: dict[str, Any], device: torch.device, non_blocking: bool, **kwargs: Any) -> Any:
        """Image and label of a batch on the device, augmented there."""
        prepared: Any = default_prepare_batch(batch, device, non_blocking, **kwargs)
        image, label = prepared
        if self.augmentation is None:
            return image, label
        numbers = (self.seed, self.state.rank, self.state.iteration)
        image, label = (values.as_subclass(Tensor) for values in (image, label))
        return self.augmentation(image, label, numbers, seed_step(self.generator, *numbers))


class SegmentationEvaluator(SupervisedEvaluator):
    """MONAI's supervised evaluator, one case at a time: validation, evaluation and inference.

    Args:
        device: where the network runs.
        dataset: the cases, dicts with ``image`` and, where there is one, ``label``.
        network: on its device.
        inferer: how the network runs over a case, bfloat16 included.
        postprocessing: from the network's output to what is measured or written.
        key_val_metric: the metric that compares epochs, by its name.
        val_handlers: handlers of the run.
    """

    def __init__(
        self,
        device: torch.device,
        dataset: Dataset,
        network: nn.Module,
        inferer: Inferer | None = None,
        postprocessing: Callable[..., Any] | None = None,
        key_val_metric: dict[str, Metric] | None = None,
        val_handlers: Sequence | None = None,
    ) -> None:
        super().__init__(
            device,
            DataLoader(dataset),
            network,
            inferer=inferer,
            postprocessing=postprocessing,  # type: ignore[arg-type]
            key_val_metric=key_val_metric,
            val_handlers=val_handlers,
        )
