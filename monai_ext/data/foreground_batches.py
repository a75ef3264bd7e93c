"""Batches of slices each of which holds some lesion, however rare lesions are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Sampler

from monai_ext.data.slices import SliceDataset
from monai_ext.errors import DataError

__all__ = ["ForegroundBatches", "forced_items"]


def forced_items(batch_size: int, share: float) -> int:
    """Items of a batch that must hold foreground: at least one, unless the share is 0.

    nnU-Net forces all from number ``round(batch_size * (1 - share))`` on (Isensee et al. 2021: 1 of 2, 4 of 12).
    """
    return min(batch_size, max(1, batch_size - round(batch_size * (1 - share)))) if share else 0


class ForegroundBatches(Sampler[list[int]]):
    """Indices of a :class:`SliceDataset` in batches, drawn with replacement from torch's global generator.

    The last :func:`forced_items` of a batch are slices with lesion, each patient alike and then each of the patient's
    lesion slices alike; the others are any slices, with lesion or without, each alike. So lesion-free slices come as
    often as they do in a scan, but for the forced ones, and an epoch has as many steps as are asked for. Without a
    number of steps and with no slice forced, an epoch is one pass over all slices in random order.

    Give it to a ``DataLoader`` as ``batch_sampler``; ``SeedEpochs`` makes the draw a function of seed and epoch.

    Args:
        dataset: tells the lesion pixels of each slice; take it with ``slices="all"`` or ``"nonblack"``.
        batch_size: slices of a batch.
        iterations: batches of an epoch; None = as many as all slices fill.
        foreground: share of a batch that must show a lesion.

    Raises:
        DataError: at first use, when no slice has ``dataset.min_lesion_pixels`` and some must.
        ValueError: when a number is not positive, or ``foreground`` no share.

    Example:
        >>> import torch
        >>> from monai.data import MetaTensor
        >>> from monai_ext.data import ForegroundBatches, SliceDataset
        >>> def prepare(item):
        ...     label = torch.zeros(1, 8, 8, 4)
        ...     label[..., :3, :3, 2] = 1  # lesion in one of four slices
        ...     return {"id": item["id"], "image": MetaTensor(torch.ones(2, 8, 8, 4)), "label": MetaTensor(label)}
        >>> slices = SliceDataset([{"id": "case_1"}], prepare, cache_dir="cache")
        >>> batches = ForegroundBatches(slices, batch_size=3, iterations=5, foreground=0.33)
        >>> [batch[-1] for batch in batches]
        [2, 2, 2, 2, 2]
    """

    def __init__(
        self, dataset: SliceDataset, batch_size: int, iterations: int | None = None, foreground: float = 0.33
    ) -> None:
        if batch_size < 1 or (iterations is not None and iterations < 1) or not 0 <= foreground <= 1:
            raise ValueError(
                f"positive numbers and a share are expected, got batch_size {batch_size}, iterations {iterations}, "
                f"foreground {foreground}"
            )
        self.dataset, self.batch_size, self.iterations = dataset, batch_size, iterations
        self.forced = forced_items(batch_size, foreground)

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size) if self.iterations is None else self.iterations

    def __iter__(self) -> Iterator[list[int]]:
        index = self.dataset.index()
        lesion = np.flatnonzero(index[:, 2] >= self.dataset.min_lesion_pixels)
        if self.forced and not len(lesion):
            found = f"no slice of the {len(self.dataset.data)} cases has {self.dataset.min_lesion_pixels} lesion pixels"
            raise DataError(found, "Check the labels and the split, or set foreground to 0.")
        if self.iterations is None and not self.forced:
            yield from (part.tolist() for part in torch.randperm(len(index)).split(self.batch_size))
            return
        by_case = [lesion[index[lesion, 0] == case] for case in np.unique(index[lesion, 0])]
        for _ in range(len(self)):
            batch = torch.randint(len(index), (self.batch_size - self.forced,)).tolist()
            for case in torch.randint(max(1, len(by_case)), (self.forced,)).tolist():
                batch.append(int(by_case[case][int(torch.randint(len(by_case[case]), ()))]))
            yield batch
