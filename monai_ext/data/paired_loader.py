"""Batches with labels, and beside each a batch without."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import Dataset

from monai_ext.data.loader import TrainLoader
from monai_ext.errors import DataError

__all__ = ["PairedLoader"]


class PairedLoader:
    """The batches of a loader of labelled items, each with a batch of images that have no label.

    An epoch is one of the labelled loader. The unlabelled items come in random order, in whole batches, and begin anew
    whenever they are through. Only ``image`` of them is handed on, so nothing else can teach anything.

    Args:
        labelled: yields dicts.
        unlabelled: items with ``image``; their batches are handed on as ``unlabelled``.
        batch_size: unlabelled images of a step of one process.

    Attributes:
        loaders: that of the labelled items, and that of the others with as many workers.

    Raises:
        DataError: at the first step, when there are fewer unlabelled items than a batch holds.

    Example:
        >>> from monai_ext.data import PairedLoader, TrainLoader
        >>> labelled = TrainLoader([{"image": 1, "label": 0}, {"image": 2, "label": 1}], batch_size=1, shuffle=False)
        >>> paired = PairedLoader(labelled, [{"image": 7}], batch_size=1)
        >>> [{key: int(value) for key, value in batch.items()} for batch in paired]
        [{'image': 1, 'label': 0, 'unlabelled': 7}, {'image': 2, 'label': 1, 'unlabelled': 7}]
    """

    def __init__(self, labelled: TrainLoader, unlabelled: Dataset, batch_size: int) -> None:
        others = TrainLoader(unlabelled, batch_size, labelled.num_workers, drop_last=True)
        self.loaders = (labelled, others)

    @property
    def dataset(self) -> Dataset:
        """The labelled items."""
        return self.loaders[0].dataset

    @property
    def unlabelled(self) -> Dataset:
        """The unlabelled items."""
        return self.loaders[1].dataset

    def __len__(self) -> int:
        return len(self.loaders[0])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The batches of an epoch."""
        others = self._without_labels()
        for batch in self.loaders[0]:
            yield {**batch, "unlabelled": next(others)["image"]}

    def _without_labels(self) -> Iterator[dict[str, Any]]:
        while len(self.loaders[1]):
            yield from self.loaders[1]
        items = len(self.unlabelled)  # type: ignore[arg-type]
        raise DataError(f"{items} images without labels do not fill a batch", "Lower batch_size, or give more scans.")
