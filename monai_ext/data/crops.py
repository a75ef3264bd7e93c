"""Random 3-D crops of volumes that are never in memory as a whole."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch.utils.data import Dataset

from monai_ext.data.foreground_batches import forced_items
from monai_ext.data.volume_cache import VolumeDataset

__all__ = ["CropDataset", "read_crop"]

logger = logging.getLogger(__name__)


def read_crop(
    volume: NDArray[Any], start: Sequence[int], size: Sequence[int], pad_value: float | None = 0
) -> NDArray[Any]:
    """Cut a box out of a volume and fill the part outside the volume.

    Args:
        volume: ``[Z, C, X, Y]``, as :meth:`VolumeDataset.volume` gives it; only the box is read from a mapped file.
        start: first voxel along X, Y and Z; may be negative.
        size: voxels of the box along X, Y and Z.
        pad_value: value outside of the volume; None repeats the border of what is inside.

    Returns:
        ``[C, *size]``, a copy.
    """
    shape = (*volume.shape[2:], volume.shape[0])
    low = [max(0, first) for first in start]
    high = [min(length, first + extent) for length, first, extent in zip(shape, start, size)]
    x, y, z = (slice(a, max(a, b)) for a, b in zip(low, high))
    inside = np.moveaxis(volume[z, :, x, y], 0, -1)
    if inside.shape[1:] == tuple(size):
        return np.ascontiguousarray(inside)
    offset = [a - first for a, first in zip(low, start)]
    if pad_value is None:
        around = [(o, length - o - n) for o, length, n in zip(offset, size, inside.shape[1:])]
        return np.pad(inside, [(0, 0), *around], mode="edge")
    crop = np.full((volume.shape[1], *size), pad_value, dtype=volume.dtype)
    crop[(slice(None), *(slice(o, o + n) for o, n in zip(offset, inside.shape[1:])))] = inside
    return crop


class CropDataset(Dataset):
    """Random crops of the volumes of a :class:`VolumeDataset`, read from memory-mapped files without loading the
    volume.

    An item is ``{"image": float32 [C, *crop_size], "label": uint8 [1, *crop_size], "id", "labelled", "crop_start"}``. A
    case without a label has ``label`` 0 and ``labelled`` False. ``crop_start`` (int64 ``[3]``) is the crop's first
    voxel in the volume.

    The place of an item's crop and the effect of ``crop_transform`` depend only on the seed, the epoch and the item's
    index, not on the number of workers or on earlier draws. A resumed run therefore sees the same crops as an
    uninterrupted one. :meth:`set_epoch` has to be called before each epoch; persistent workers follow it too.

    A share ``foreground`` of the items is centred on a voxel of the label; in nnU-Net it is a third. A class of the
    case is drawn uniformly, then one of its voxels uniformly; finding that voxel reads only its slice. The other crops
    are drawn uniformly from all places in the volume, as are all crops of a case without foreground or without a label.

    Args:
        data: items, as from a datalist (MONAI Label puts its own in here).
        transform: deterministic preprocessing of an item to volumes ``image`` and, if there is one, ``label``.
        cache_dir: folder in which the preprocessed volumes are kept.
        crop_size: voxels of a crop along each axis; a smaller volume lies in the middle of the crop.
        foreground: share of the items that are centred on the label.
        num_crops: number of items of an epoch, taken from the cases in turn; None takes one of each case.
        seed: seed of the crops.
        crop_transform: augmentation, applied to each item when it is read. If it has ``set_random_state`` it is seeded
            for each item.
        pad_value: value of the image outside the volume. The default 0, as in nnU-Net, is the mean of a z-scored image;
            None repeats the border, for images in which 0 is not air.
        num_workers: processes that prepare cases at first use.
        lazy: True prepares the cases when an epoch begins or a crop is read, see :class:`VolumeDataset`.
        half: True keeps the volumes as float16, see :class:`VolumeDataset`; crops are float32 in any case.
        batch_size: batch size of a loader that does not shuffle. The last crops of each batch are then centred on the
            label, at least one, as in nnU-Net (:func:`~monai_ext.data.foreground_batches.forced_items`), and the order
            of the cases changes with each turn, so that no case always has the same place in a batch. None draws each
            crop independently, so that a batch may have no foreground.

    Raises:
        DataError: at first use, when cases cannot be used.
        ValueError: when ``foreground`` is not a share, ``crop_size`` not three positive numbers, or ``batch_size``
            below 1.

    Example:
        >>> import torch
        >>> from monai.data import MetaTensor
        >>> from monai_ext.data import CropDataset
        >>> def prepare(item):
        ...     label = torch.zeros(1, 16, 16, 16)
        ...     label[..., 8, 8, 8] = 1
        ...     return {"id": item["id"], "image": MetaTensor(torch.ones(2, 16, 16, 16)), "label": MetaTensor(label)}
        >>> crops = CropDataset([{"id": "case_1"}], prepare, "cache", crop_size=(8, 8, 4), foreground=1.0, num_crops=3)
        >>> len(crops), crops[0]["image"].shape, crops[0]["label"].sum().item()
        (3, torch.Size([2, 8, 8, 4]), 1.0)
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[[Any], Any],
        cache_dir: str | Path,
        crop_size: Sequence[int],
        foreground: float = 0.0,
        num_crops: int | None = None,
        seed: int = 0,
        crop_transform: Callable[[Any], Any] | None = None,
        pad_value: float | None = 0.0,
        num_workers: int = 0,
        lazy: bool = False,
        batch_size: int | None = None,
        half: bool = True,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"a batch has one crop or more, got {batch_size}")
        if not 0 <= foreground <= 1:
            raise ValueError(f"foreground must be a share between 0 and 1, got {foreground}")
        if len(crop_size) != 3 or min(crop_size) < 1:
            raise ValueError(f"crop_size must be three positive numbers, got {crop_size}")
        self.volumes = VolumeDataset(data, transform, cache_dir, num_workers=num_workers, lazy=lazy, half=half)
        self.crop_size = tuple(int(size) for size in crop_size)
        self.foreground, self.num_crops, self.seed = foreground, num_crops, seed
        self.crop_transform, self.pad_value, self.batch_size = crop_transform, pad_value, batch_size
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._looked = False

    @property
    def data(self) -> list[Mapping[str, Any]]:
        """The items."""
        return self.volumes.data

    def set_epoch(self, epoch: int) -> None:
        """Draw the crops of this epoch."""
        self._epoch.fill_(epoch)
        if self.volumes.lazy:
            self.volumes.prepare()
            self._look_for_foreground()

    def __len__(self) -> int:
        """Crops of one epoch; prepares the volumes at the first call."""
        cases = len(self.volumes)
        if not self.volumes.lazy:
            self._look_for_foreground()
        return cases if self.num_crops is None else self.num_crops if cases else 0

    def _look_for_foreground(self) -> None:
        """Warn once about cases whose labels are empty."""
        if self._looked:
            return
        self._looked = True
        cases = [case for case in range(len(self.volumes.data)) if self.volumes.foreground(case) is not None]
        if cases and not any(self.volumes.classes(case) for case in cases):
            meaning = "every crop lies anywhere" if self.foreground else "there is nothing to learn"
            logger.warning("%d of %d cases have no foreground: %s", len(cases), len(cases), meaning)

    def __getitem__(self, index: int) -> Any:
        """One crop."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        epoch = int(self._epoch)
        rng = np.random.default_rng([self.seed, epoch, index])
        case = self._case(epoch * len(self) + index)
        stored, label = self.volumes.volume(case, "image"), self.volumes.volume(case, "label")
        if stored is None:
            raise ValueError(f"case {self.volumes.case(case)}: the preprocessing gives no image")
        if self.batch_size is None:
            forced = label is not None and rng.random() < self.foreground
        else:
            forced = index % self.batch_size >= self.batch_size - forced_items(self.batch_size, self.foreground)
        start = self._start(case, stored, label if forced else None, rng)
        if label is None:
            truth = torch.zeros(1, *self.crop_size, dtype=torch.uint8)
        else:
            truth = torch.from_numpy(read_crop(label, start, self.crop_size))
        item = {
            "image": torch.from_numpy(read_crop(stored, start, self.crop_size, self.pad_value)).float(),
            "label": truth,
            "id": self.volumes.case(case),
            "labelled": label is not None,
            "crop_start": torch.tensor(start),
        }
        if self.crop_transform is None:
            return item
        if hasattr(self.crop_transform, "set_random_state"):
            self.crop_transform.set_random_state(seed=int(rng.integers(2**32)))
        return self.crop_transform(item)

    def _case(self, number: int) -> int:
        """The case of a crop by its number in the run."""
        turn, place = divmod(number, len(self.volumes.data))
        if self.batch_size is None:
            return place
        return int(np.random.default_rng([self.seed, turn]).permutation(len(self.volumes.data))[place])

    def _start(self, case: int, image: NDArray[Any], label: NDArray[Any] | None, rng: Generator) -> list[int]:
        """First voxel of the crop along X, Y and Z; on the label if there is one."""
        shape = (*image.shape[2:], image.shape[0])
        spare = [length - size for length, size in zip(shape, self.crop_size)]
        centre = None if label is None else self._foreground_voxel(case, label, rng)
        if centre is None:
            start = [int(rng.integers(room + 1)) if room > 0 else room // 2 for room in spare]
        else:
            start = [c - size // 2 for c, size in zip(centre, self.crop_size)]
        return [min(max(s, 0), room) if room > 0 else room // 2 for s, room in zip(start, spare)]

    def _foreground_voxel(self, case: int, label: NDArray[Any], rng: Generator) -> tuple[int, int, int] | None:
        """A voxel of the label: the class first, then the slice in proportion to its voxels, then one of these."""
        classes = self.volumes.classes(case)
        if not classes:
            return None
        value = sorted(classes)[rng.integers(len(classes))]
        counts = classes[value]
        z = int(rng.choice(len(counts), p=counts / counts.sum()))
        places = np.argwhere(np.asarray(label[z, 0]) == value)
        x, y = places[rng.integers(len(places))]
        return int(x), int(y), z
