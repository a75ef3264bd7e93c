"""Batches of a training, divided among the processes that train together."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from monai.data import DataLoader
from torch.utils.data import BatchSampler, Dataset, Sampler, SequentialSampler
from torch.utils.data.distributed import DistributedSampler

from monai_ext.data.foreground_batches import ForegroundBatches
from monai_ext.processes import num_processes
from monai_ext.sigterm import outlast_sigterm

__all__ = ["TrainLoader"]

SECONDS = 20  # that a worker outlasts a SIGTERM


class TrainLoader(DataLoader):
    """MONAI's loader for training: shuffled batches; under torchrun each process gets its share of every epoch.

    With N processes an epoch has 1/N of the steps, and each process takes ``batch_size`` items per step. Batches lie in
    pinned memory where there is a GPU. A worker is four batches ahead; there are no more workers than batches.

    Args:
        dataset: data set of the items.
        batch_size: items of a step of one process.
        num_workers: processes that load items; 0 loads them in this process.
        shuffle: draw the items of an epoch in random order.
        sampler: sampler of the items of an epoch, in place of ``shuffle``.
        drop_last: leave out the last batch of an epoch if it is smaller than the others.
        iterations: steps of an epoch, of slices drawn with replacement, see :class:`ForegroundBatches`; None = as many
            as the items fill.
        lesion_share: share of each batch of slices that must show lesion, see :class:`ForegroundBatches`.
        whole_batches: True keeps the order of the items and gives each process every N-th batch as a whole, for a data
            set that forces foreground into each batch, see :class:`CropDataset`.

    Raises:
        ValueError: ``batch_size`` is below 1.

    Example:
        >>> from monai_ext.data import TrainLoader
        >>> loader = TrainLoader([{"image": i} for i in range(6)], batch_size=2)
        >>> len(loader), sorted(int(i) for batch in loader for i in batch["image"])
        (3, [0, 1, 2, 3, 4, 5])
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        num_workers: int = 0,
        shuffle: bool = True,
        sampler: Sampler[int] | None = None,
        drop_last: bool = False,
        iterations: int | None = None,
        lesion_share: float = 0.0,
        whole_batches: bool = False,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        options: dict[str, Any] = {"num_workers": num_workers, "pin_memory": torch.cuda.is_available()}
        if num_workers:
            options["prefetch_factor"] = 4
        if whole_batches or iterations or lesion_share:
            batches: Sampler[list[int]]
            if whole_batches:
                batches = BatchSampler(SequentialSampler(dataset), batch_size, drop_last)  # type: ignore[arg-type]
            else:
                batches = ForegroundBatches(dataset, batch_size, iterations, lesion_share)  # type: ignore[arg-type]
            options["batch_sampler"] = batches if num_processes() == 1 else ShareOf(batches)
        else:
            if num_processes() > 1:
                sampler = DistributedSampler(dataset, shuffle=shuffle) if sampler is None else ShareOf(sampler)
            options |= {"batch_size": batch_size, "drop_last": drop_last}
            options |= {"sampler": sampler, "shuffle": shuffle if sampler is None else None}
        super().__init__(dataset, **options)
        # Where a scheduler sends SIGTERM to all processes of a run, the workers live until the step is done.
        self.worker_init_fn = partial(outlast_sigterm, self.worker_init_fn, SECONDS)

    def __iter__(self) -> Any:
        """The batches of an epoch."""
        self.num_workers = min(self.num_workers, len(self))  # each is started anew in each epoch
        return super().__iter__()


class ShareOf(DistributedSampler):
    """The part of a sampler's draw that belongs to this process.

    All processes have to draw the same, except from a sampler that draws with replacement.

    Args:
        sampler: sampler of the items, or of the batches, of an epoch; its ``set_epoch``, if any, is called too.
    """

    def __init__(self, sampler: Sampler[Any]) -> None:
        super().__init__(sampler, shuffle=False)  # type: ignore[arg-type]
        self.sampler = sampler

    def set_epoch(self, epoch: int) -> None:
        """The next epoch's draw."""
        super().set_epoch(epoch)
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(epoch)

    def __iter__(self) -> Iterator[Any]:
        """Indices, or batches of them, of this process."""
        drawn = list(self.sampler)
        return iter(drawn[place] for place in super().__iter__())
