"""Features of many patients, measured scan by scan and kept, so that a second round reads no scan again."""

from __future__ import annotations

import hashlib
import json
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from monai_ext.data.entries import Item, case_of, files_of
from monai_ext.data.io.image_files import image_print
from monai_ext.data.io.whole_file import sweep, whole_file
from monai_ext.errors import CheckpointError, ConfigError, DataError, find_bundle_error
from monai_ext.progress_bar import progress_bar
from monai_ext.select.statistics import Described

__all__ = ["Look", "Measured", "measure", "patient_features", "read_kept"]

VERSION = 1  # raise it with any change of what the same files and settings give
CLIP = 5.0  # robust standard deviations at which a single number stops to count
DRAWN = ("slice", "pixel")  # of a picture, no features


class Look(Protocol):
    """Measures a scan."""

    preprocessing: Any

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the result beside the scan's files."""

    def __call__(self, item: Item) -> Described:
        """Groups of numbers by name."""


@dataclass
class Measured:
    """What was measured of some scans, by case.

    Attributes:
        features: groups of numbers.
        broken: why a scan could not be measured.
        files: that keep the features, and a slice to be drawn.
    """

    features: dict[str, Described] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)


def measure(items: Sequence[Item], look: Look, folder: Path, what: str) -> Measured:
    """Measure items, or take what was measured before of the same files by the same settings.

    Args:
        items: with absolute paths.
        look: measures one.
        folder: keeps what was measured, a file for each scan.
        what: says what is measured, beside the progress bar.

    Raises:
        CheckpointError: weights cannot be used.
        ConfigError: the folder cannot be written.
    """
    sweep(folder)
    found = Measured()
    settings = json.dumps([VERSION, look.identity], sort_keys=True, default=str)
    for item in progress_bar(items, what, "scan"):
        case = case_of(item)
        try:
            found.files[case] = folder / f"{_key(item, look, settings)}.npz"
            kept = read_kept(found.files[case]) or _measured(item, look, found.files[case])
            found.features[case] = {key: values for key, values in kept.items() if key not in DRAWN}
        except Exception as error:
            fault = find_bundle_error(error)
            if fault is None:
                raise
            if not isinstance(fault, DataError):
                raise fault from None
            if str(fault.file).endswith(".pt"):  # weights that the preprocessing needs, and all scans lack
                raise CheckpointError(str(fault)) from None
            found.broken[case] = f"{fault.cause}. {fault.remedy}".strip()
    return found


def _key(item: Item, look: Look, settings: str) -> str:
    """Of the file that keeps an item's features."""
    whole = dict(look.preprocessing.resolve(item)) if hasattr(look.preprocessing, "resolve") else dict(item)
    whole.pop("label", None)
    prints = {key: [image_print(path) for path in paths] for key, paths in sorted(files_of(whole).items())}
    plain = {str(key): value for key, value in whole.items() if isinstance(value, int | float) and key != "fold"}
    content = json.dumps([settings, prints, plain], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:24]


def read_kept(file: Path) -> Described:
    """What a file keeps of a scan; empty where there is none, or a damaged one."""
    try:
        with np.load(file, allow_pickle=False) as kept:
            return {key: kept[key].astype(np.float32) for key in kept.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        return {}


def _measured(item: Item, look: Look, file: Path) -> Described:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the check and the training say them
        found = look(item)
    if bad := [key for key, values in found.items() if not np.isfinite(values).all()]:
        raise DataError(f"its {bad[0]} is no number", "Look at the scan.", item.get("id"))
    kept = {key: values.astype(np.float16) if key == "slice" else values for key, values in found.items()}
    try:
        with whole_file(file) as temporary:
            np.savez_compressed(temporary, allow_pickle=False, **kept)
    except OSError as error:
        raise ConfigError(f"cannot write {file.parent}: {error}. Give another --out") from error
    return {key: values.astype(np.float32) for key, values in kept.items()}


def patient_features(found: Sequence[Sequence[Described]]) -> NDArray[np.float64]:
    """One vector for each patient, in which every group of numbers weighs the same.

    Of a patient's scans the mean is taken. Each number is centred on the set's median and divided by its robust
    standard deviation, at least a third of the plain one; beyond five of them it counts as five.

    Args:
        found: of each patient, what was measured of the scans.

    Returns:
        ``[patients, D]``; what is the same in all patients is 0.
    """
    parts = []
    for group in found[0][0]:
        values = np.stack([np.mean([scan[group] for scan in scans], axis=0) for scans in found]).astype(np.float64)
        gaps = values - np.median(values, axis=0)
        spread = np.maximum(1.4826 * np.median(np.abs(gaps), axis=0), values.std(axis=0) / 3)
        scaled = np.divide(gaps, spread, out=np.zeros_like(gaps), where=spread > 1e-9 * (1 + np.abs(values).max(0)))
        parts.append(np.clip(scaled, -CLIP, CLIP) / np.sqrt(values.shape[1]))
    return np.concatenate(parts, axis=1) / np.sqrt(len(parts))
