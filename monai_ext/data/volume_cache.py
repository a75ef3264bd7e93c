"""Deterministic preprocessing, done once per case and kept on disk, so that a slice is read without its volume."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, get_worker_info

from monai_ext.data.io.image_files import image_files
from monai_ext.data.io.whole_file import sweep, whole_file
from monai_ext.errors import ConfigError, DataError, find_bundle_error
from monai_ext.progress_bar import progress_bar

__all__ = ["VolumeDataset"]

logger = logging.getLogger(__name__)

Item = Mapping[str, Any]
MAX_REPORTED = 20
FORMAT = 3  # version of the cache; raise it with any change of its content
NUMBERS: tuple[torch.dtype, ...] = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
NUMBERS += (torch.float16, torch.bfloat16, torch.float32, torch.float64)
KINDS = {str(kind).removeprefix("torch."): kind for kind in NUMBERS}


def _stamp(value: object) -> object:
    """Value that changes when a file of an image changes; other values are returned as text."""
    path = Path(value) if isinstance(value, str | Path) else None
    if path is None or not os.path.exists(path):
        return str(value)
    files = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in image_files(path)]
    return [str(path.resolve()), files]


def _checksum(path: Path) -> list[int]:
    length, crc = 0, 0
    with path.open("rb") as file:
        while block := file.read(2**20):
            length, crc = length + len(block), zlib.crc32(block, crc)
    return [length, crc]


class VolumeDataset(Dataset):
    """Items after a deterministic transform, computed once and kept on disk.

    The volumes (MetaTensors ``[C, X, Y, Z]``) lie in ``cache_dir`` as ``.npy`` files of their own type, or as float16
    with ``half``; the slice axis comes first, so that a memory-mapped slice is one contiguous read. The key of an item
    depends on its values, the size and time of its files, and the transform; when any of these changes, the item is
    computed again. Files are written under a temporary name and moved into place, the description (with checksums)
    last, so an interrupted, truncated or damaged cache is computed again. A file of the size and time that were noted
    is not read at the start; one whose time is another, such as that of a copy, is compared by its checksum.

    All cases are prepared at first use (``len``), under a progress bar. Cases that fail are reported together.

    Args:
        data: items, as from a datalist.
        transform: item -> item of MetaTensors, plain tensors, strings and numbers; other values are not kept. Its
            ``fingerprint`` (else its ``repr``) identifies it in the cache. Its method ``resolve``, if any, adds the
            files that the item does not name.
        cache_dir: folder of the results; several data sets and processes can share it.
        slice_axis: the spatial axis that is stored first.
        num_workers: processes that prepare cases; 0 = this one.
        lazy: True prepares all cases when the first is read, not at ``len``, for data that an earlier phase has yet to
            complete.
        half: True keeps floating-point volumes as float16, in half the space: a value x is off by at most
            ``abs(x) / 2048 + 3e-8``. A volume with values beyond 65504 stays as it is.
        verify: True compares every file by its checksum at the start, which reads the whole cache.

    Raises:
        DataError: cases that cannot be used, each with its reason.
        ConfigError: the cache cannot be written.

    Example:
        >>> import torch
        >>> from monai.data import MetaTensor
        >>> from monai_ext.data import VolumeDataset
        >>> def prepare(item):
        ...     return {"id": item["id"], "image": MetaTensor(torch.ones(1, 8, 8, 4))}
        >>> volumes = VolumeDataset([{"id": "case_1"}, {"id": "case_2"}], prepare, cache_dir="cache")
        >>> len(volumes), volumes[1]["id"], volumes[1]["image"].shape
        (2, 'case_2', torch.Size([1, 8, 8, 4]))
    """

    def __init__(
        self,
        data: Sequence[Item],
        transform: Callable[[Any], Any],
        cache_dir: str | Path,
        slice_axis: int = -1,
        num_workers: int = 0,
        lazy: bool = False,
        half: bool = True,
        verify: bool = False,
    ) -> None:
        self.lazy, self.half, self.verify = lazy, half, verify
        self.data, self.transform, self.cache_dir = list(data), transform, Path(cache_dir)
        self.slice_axis, self.num_workers = slice_axis, num_workers
        self._entries: dict[int, dict[str, Any]] = {}

    def __len__(self) -> int:
        """Number of cases; prepares them at the first call, unless ``lazy``."""
        if not self.lazy:
            self.prepare()
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Case ``index``: volumes as MetaTensors, all other values as the transform returned them."""
        if index >= len(self.data):
            raise IndexError(index)
        if self.lazy:
            self.prepare()
        entry = self._entry(index)
        item = dict(entry["plain"])
        for name, (values, dtype) in entry["tensors"].items():
            item[name] = torch.tensor(values, dtype=KINDS[dtype])
        for name, meta in entry["volumes"].items():
            values = torch.from_numpy(np.moveaxis(np.array(self.volume(index, name)), 0, self.slice_axis))
            values = values.float() if values.dtype == torch.float16 else values
            affines = {key: torch.tensor(meta[key], dtype=torch.float64) for key in ("affine", "original_affine")}
            kept = {"original_affine": affines["original_affine"], "filename_or_obj": meta["filename_or_obj"]}
            kept["spatial_shape"] = np.array(meta["spatial_shape"])
            item[name] = MetaTensor(values.contiguous(), affine=affines["affine"], meta=kept)
        return item

    def volume(self, index: int, name: str) -> NDArray[Any] | None:
        """Memory-mapped volume ``name`` of a case, slice axis first (``[Z, C, X, Y]``); None if the case has none."""
        entry = self._entry(index)
        return np.load(self._file(entry["key"], name), mmap_mode="r") if name in entry["volumes"] else None

    def foreground(self, index: int) -> NDArray[np.int64] | None:
        """Label voxels above 0 in each slice of a case; None if it has no label. Reads no volume."""
        counts = self._entry(index)["foreground"]
        return None if counts is None else np.array(counts, dtype=np.int64)

    def black(self, index: int) -> NDArray[np.bool_]:
        """Slices of the image of a case in which all values are equal. Reads no volume."""
        return np.array(self._entry(index)["black"], dtype=bool)

    def classes(self, index: int) -> dict[int, NDArray[np.int64]] | None:
        """Voxels of each label value above 0 in each slice of a case; None if it has no label. Reads no volume."""
        entry = self._entry(index)
        if entry["classes"] is None:
            return None
        found: dict[int, NDArray[np.int64]] = {}
        for value, (first, counts) in entry["classes"].items():
            found[int(value)] = np.zeros(len(entry["foreground"]), dtype=np.int64)
            found[int(value)][first : first + len(counts)] = counts
        return found

    def case(self, index: int) -> Any:
        """The id of a case; its index if it has none."""
        return self._entry(index)["plain"].get("id", index)

    def prepare(self) -> None:
        """Compute all cases that are missing in the cache.

        Raises:
            DataError: names every case that failed, with the reason.
        """
        unknown = [index for index in range(len(self.data)) if index not in self._entries]
        with ThreadPoolExecutor() as pool:  # reading and checksums wait for the disk, not for Python
            known = pool.map(self._known, unknown)
            bar = progress_bar(known, "Checking the cache", "case", len(unknown), leave=False, delay=2)
            missing = [index for index, whole in zip(unknown, bar) if not whole]
        if not missing or get_worker_info() is not None:
            return
        sweep(self.cache_dir)
        # The processes of one machine start at different cases and find the others' results.
        start = int(os.environ.get("LOCAL_RANK", 0)) * len(missing) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        jobs = _Jobs(self, missing[start:] + missing[:start])
        # A separate generator: the state of the cache must not change the run's random numbers.
        loader = DataLoader(jobs, batch_size=None, num_workers=self.num_workers, generator=torch.Generator())
        bar = progress_bar(loader, f"Preparing {len(missing)} cases (once)", "case", len(missing))
        failures = sorted((index, failure) for index, failure in bar if failure)
        if failures:
            reasons = [failure for _, failure in failures[:MAX_REPORTED]]
            if len(failures) > MAX_REPORTED:
                reasons.append(f"and {len(failures) - MAX_REPORTED} more")
            listed = "\n  ".join(reasons)
            raise DataError(f"{len(failures)} of {len(self.data)} cases cannot be used:\n  {listed}")

    def _key(self, index: int) -> str:
        item = self.data[index]
        with contextlib.suppress(DataError):  # the transform itself reports it
            item = getattr(self.transform, "resolve", dict)(item)
        content = {str(name): _stamp(value) for name, value in item.items()}
        transform = getattr(self.transform, "fingerprint", repr(self.transform))
        described = json.dumps(
            [content, transform, self.slice_axis, FORMAT, *(["half"] if self.half else [])], sort_keys=True, default=str
        )
        return hashlib.sha256(described.encode()).hexdigest()[:24]

    def _file(self, key: str, name: str) -> Path:
        return self.cache_dir / f"{key}-{name}.npy"

    def _known(self, index: int) -> bool:
        """Take a case from the cache if its files are complete."""
        key = self._key(index)
        path = self.cache_dir / f"{key}.json"
        if not path.is_file():
            return False
        try:
            described = json.loads(path.read_text(encoding="utf-8"))
            entry = described["entry"]
            whole = described["sum"] == zlib.crc32(json.dumps(entry).encode())
            noted = described.get("times", {})
            files = {name: self._file(key, name) for name in entry["volumes"]}
            times = {name: file.stat().st_mtime_ns for name, file in files.items()}
            for name, file in files.items() if whole else ():
                meta = entry["volumes"][name]
                if self.verify or [file.stat().st_size, times[name]] != [meta["sum"][0], noted.get(name)]:
                    whole = whole and _checksum(file) == meta["sum"]
            if whole and times != noted:
                with contextlib.suppress(ConfigError):  # another's cache may not be writable
                    self._describe(key, entry)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            whole = False
        if whole:
            self._entries[index] = entry
        else:
            logger.warning("%s is damaged and will be computed again", path)
        return whole

    def _entry(self, index: int) -> dict[str, Any]:
        if index not in self._entries and not self._known(index):
            with _alone(self.cache_dir, self._key(index)):
                described = self.cache_dir / f"{self._key(index)}.json"
                if not described.is_file() or not self._known(index):  # another process may have been here meanwhile
                    self._compute(index)
        return self._entries[index]

    def _compute(self, index: int) -> None:
        item = self.transform(self.data[index])
        key = self._key(index)
        entry: dict[str, Any] = {"key": key, "volumes": {}, "tensors": {}, "plain": {}}
        entry |= {"foreground": None, "classes": None, "black": None}
        for name, value in item.items():
            if isinstance(value, MetaTensor):
                stacked = self._stored(np.ascontiguousarray(np.moveaxis(value.numpy(), self.slice_axis, 0)))
                checksum = _write(self._file(key, name), partial(np.save, arr=stacked, allow_pickle=False))
                meta = value.meta
                entry["volumes"][name] = {
                    "sum": checksum,
                    "affine": value.affine.tolist(),
                    "original_affine": torch.as_tensor(meta.get("original_affine", value.affine)).tolist(),
                    "spatial_shape": [int(size) for size in meta.get("spatial_shape", value.shape[1:])],
                    "filename_or_obj": str(meta.get("filename_or_obj", "")),
                }
                if name == "image":
                    planes = stacked.reshape(len(stacked), -1)
                    entry["black"] = (planes.max(1) == planes.min(1)).tolist()
                if name == "label":
                    entry["foreground"] = (stacked > 0).sum(axis=tuple(range(1, stacked.ndim))).tolist()
                    entry["classes"] = _count_classes(stacked)
            elif isinstance(value, torch.Tensor):
                entry["tensors"][name] = [value.tolist(), str(value.dtype).removeprefix("torch.")]
            elif isinstance(value, str | int | float | bool):
                entry["plain"][name] = value
        self._describe(key, entry)
        self._entries[index] = entry

    def _stored(self, volume: NDArray[Any]) -> NDArray[Any]:
        """A volume in the type in which it is kept."""
        if not self.half or volume.dtype.kind != "f" or not np.abs(volume).max(initial=0) <= np.finfo(np.float16).max:
            return volume
        return volume.astype(np.float16)

    def _describe(self, key: str, entry: dict[str, Any]) -> None:
        """Write the description of a case, with the times of its files beside the sum over all else."""
        times = {name: self._file(key, name).stat().st_mtime_ns for name in entry["volumes"]}
        described = {"sum": zlib.crc32(json.dumps(entry).encode()), "entry": entry, "times": times}
        _write(self.cache_dir / f"{key}.json", lambda file: file.write(json.dumps(described).encode()))


@contextlib.contextmanager
def _alone(folder: Path, key: str) -> Iterator[None]:
    """Keep other processes out of one case of a cache: the second one waits, and finds what the first one wrote.

    A byte of one file is locked for each case. The lock ends with its process, however that ends. Where the file
    cannot be made there is no lock: what is written then gives the error.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(open(folder / "cache.lock", "a"))
            fcntl.lockf(lock, fcntl.LOCK_EX, 1, int(key[:8], 16))
        yield


def _count_classes(label: NDArray[Any]) -> dict[str, tuple[int, list[int]]]:
    """Voxels of each value above 0 by slice: value -> (first slice that has it, counts from there to the last)."""
    slices = [np.unique(plane, return_counts=True) for plane in label]
    found: dict[int, dict[int, int]] = {}
    for z, (values, counts) in enumerate(slices):
        for value, count in zip(values.tolist(), counts.tolist()):
            if value > 0:
                found.setdefault(int(value), {})[z] = count
    spans = {value: range(min(by_slice), max(by_slice) + 1) for value, by_slice in sorted(found.items())}
    return {str(value): (span[0], [found[value].get(z, 0) for z in span]) for value, span in spans.items()}


def _write(path: Path, write: Callable[[Any], Any]) -> list[int]:
    """Write a file under a temporary name and move it into place; return its size and checksum."""
    try:
        with whole_file(path) as temporary:
            with open(temporary, "wb") as file:
                write(file)
            return _checksum(temporary)
    except OSError as error:  # numpy reports a full disk without an error number
        reason = error.strerror or f"{error}; the disk may be full"
        raise ConfigError(f"cannot write the cache {path.parent}: {reason}. Give another --cache_dir") from error


class _Jobs(Dataset):
    """Prepare cases as a data set, so that a DataLoader can spread the work: (index of the case, failure or "")."""

    def __init__(self, volumes: VolumeDataset, indices: list[int]) -> None:
        self.volumes, self.indices = volumes, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> tuple[int, str]:
        index = self.indices[position]
        try:
            self.volumes._entry(index)
        except Exception as error:
            found = find_bundle_error(error)
            if found is not None and not isinstance(found, DataError):
                raise found from None
            if found is None:
                case = self.volumes.data[index].get("id", index)
                raise RuntimeError(f"preparing case {case} failed: {error}") from error
            return index, str(found)
        return index, ""
