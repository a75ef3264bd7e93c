"""2-D slices of volumes, with balanced sampling for rare lesions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from monai_ext.data.volume_cache import VolumeDataset
from monai_ext.errors import DataError

__all__ = ["SliceDataset"]


class SliceDataset(Dataset):
    """All slices of all volumes, read one by one from a :class:`VolumeDataset`.

    An item is ``{"image": float32 [C, X, Y], "label": uint8 [1, X, Y], "id", "z"}``; ``label`` is 0 for a case without
    a label.

    ``slices`` selects the slices: ``all``; ``nonblack``, all slices that are not constant (AMLP, 4.1, pretraining);
    ``lesion``, slices with at least ``min_lesion_pixels`` (AMLP, 4.1, fine-tuning); or ``balanced``, the sampling of
    prostate MAE, A.3: all slices with at least ``min_lesion_pixels``, and an equal number of slices without lesion
    pixels, drawn anew each epoch (fewer if there are not enough). Slices with fewer lesion pixels are not used. Cases
    without a label are not used either, because they may hold lesions. :meth:`set_epoch` has to be called before each
    epoch; persistent workers follow it too.

    Args:
        data: items, as from a datalist (MONAI Label puts its own in here).
        transform: deterministic preprocessing of an item to volumes ``image`` and, if there is one, ``label``.
        cache_dir: folder in which the preprocessed volumes are kept.
        min_lesion_pixels: label pixels above 0 that make a slice a lesion slice.
        seed: seed of the draw; the draw of an epoch depends only on seed + epoch.
        spatial_axis: axis across which the volumes are sliced.
        slice_transform: augmentation, applied to each item when it is read, such as random flips.
        num_workers: processes that prepare cases at first use.
        slices: which slices to use, see above.

    Raises:
        DataError: at first use, when cases cannot be used, or when no lesion slice is found where some are asked for.
        ValueError: when an argument is out of its range.

    Example:
        >>> import torch
        >>> from monai.data import MetaTensor
        >>> from monai_ext.data import SliceDataset
        >>> def prepare(item):
        ...     label = torch.zeros(1, 8, 8, 4)
        ...     label[..., :3, :3, 2] = 1  # lesion in one of four slices
        ...     return {"id": item["id"], "image": MetaTensor(torch.ones(2, 8, 8, 4)), "label": MetaTensor(label)}
        >>> slices = SliceDataset([{"id": "case_1"}], prepare, cache_dir="cache", slices="lesion")
        >>> len(slices), slices[0]["z"], slices[0]["image"].shape, slices[0]["label"].sum().item()
        (1, 2, torch.Size([2, 8, 8]), 9.0)
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[[Any], Any],
        cache_dir: str | Path,
        min_lesion_pixels: int = 5,
        seed: int = 0,
        spatial_axis: int = -1,
        slice_transform: Callable[[Any], Any] | None = None,
        num_workers: int = 0,
        slices: Literal["all", "nonblack", "lesion", "balanced"] = "all",
    ) -> None:
        if min_lesion_pixels < 1:
            raise ValueError(f"min_lesion_pixels must be at least 1, got {min_lesion_pixels}")
        if slices not in ("all", "nonblack", "lesion", "balanced"):
            raise ValueError(f"slices must be all, nonblack, lesion or balanced, got {slices!r}")
        self.slices = slices
        self.volumes = VolumeDataset(data, transform, cache_dir, spatial_axis, num_workers)
        self.min_lesion_pixels, self.seed = min_lesion_pixels, seed
        self.slice_transform = slice_transform
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._slices: NDArray[np.int64] | None = None  # [S, 3]: case, z, lesion pixels (-1 = no label)
        self._drawn: tuple[int, NDArray[np.int64]] | None = None

    @property
    def data(self) -> list[Mapping[str, Any]]:
        """The items."""
        return self.volumes.data

    def set_epoch(self, epoch: int) -> None:
        """Draw the lesion-free slices of this epoch."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        """Slices of one epoch, the same in each; prepares the volumes at the first call."""
        return len(self.index())

    def index(self) -> NDArray[np.int64]:
        """``[S, 3]``: case, z and number of lesion pixels (-1: no label) of the slices of this epoch."""
        if self._slices is None:
            self._slices = self._scan()
        if self.slices != "balanced":
            return self._slices
        epoch = int(self._epoch)
        if self._drawn is None or self._drawn[0] != epoch:
            self._drawn = epoch, self._slices[self._draw(self._slices[:, 2], epoch)]
        return self._drawn[1]

    def __getitem__(self, index: int) -> Any:
        """One slice."""
        case, z, _ = (int(value) for value in self.index()[index])
        image = torch.from_numpy(np.array(self.volumes.volume(case, "image")[z])).float()  # type: ignore[index]
        stored = self.volumes.volume(case, "label")
        if stored is None:
            label = torch.zeros(1, *image.shape[1:], dtype=torch.uint8)
        else:
            label = torch.from_numpy(np.array(stored[z]))
        item = {"image": image, "label": label, "id": self.volumes.case(case), "z": z}
        return item if self.slice_transform is None else self.slice_transform(item)

    def _scan(self) -> NDArray[np.int64]:
        rows = []
        for case in range(len(self.volumes)):
            counts = self.volumes.foreground(case)
            if counts is None:
                counts = np.full(len(self.volumes.volume(case, "image")), -1)  # type: ignore[arg-type]
            found = np.stack([np.full(len(counts), case), np.arange(len(counts)), counts], axis=1)
            if self.slices == "nonblack":
                found = found[~self.volumes.black(case)]
            elif self.slices == "lesion":
                found = found[counts >= self.min_lesion_pixels]
            rows.append(found)
        result = np.concatenate(rows) if rows else np.zeros((0, 3), dtype=np.int64)
        if self.slices == "lesion" and not len(result):
            raise self._no_lesion()
        return result

    def _no_lesion(self) -> DataError:
        found = f"no slice of the {len(self.data)} cases has {self.min_lesion_pixels} lesion pixels or more"
        return DataError(found, "Check the labels and the split, or train on all slices.")

    def _draw(self, pixels: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        lesion, free = np.flatnonzero(pixels >= self.min_lesion_pixels), np.flatnonzero(pixels == 0)
        if not len(lesion):
            raise self._no_lesion()
        generator = torch.Generator().manual_seed(self.seed + epoch)
        drawn = free[torch.randperm(len(free), generator=generator)[: len(lesion)].numpy()]
        return np.sort(np.concatenate([lesion, drawn]))
