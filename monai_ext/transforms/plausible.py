"""Does a volume look like what its key says? Swapped modalities and other units are plausible numbers to a network."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from torch import Tensor

__all__ = ["implausible", "misnamed"]

MAGNITUDE = ("t2w", "hbv", "dwi", "t1", "t1ce", "t2", "flair")
# Words in file names that say which image it is.
NAMES = {
    "t2w": {"t2w", "t2"},
    "adc": {"adc"},
    "hbv": {"hbv", "dwi", "highb"},
    "ct": {"ct", "ctres"},
    "pet": {"pet", "pt", "suv"},
    "t1": {"t1"},
    "t1ce": {"t1ce", "t1gd", "t1c"},
    "t2": {"t2", "t2w"},
    "flair": {"flair"},
}


def implausible(key: str, values: Tensor) -> str:
    """What speaks against the values of a modality; "" if nothing does, or if the modality is not known.

    - ``ct``: Hounsfield units; air has -1000, and a CT without any is not one, or its offset is lost.
    - ``pet``: SUV; scatter correction leaves a little below 0, and activity in Bq/ml has thousands.
    - T2W, high-b and other MR: magnitudes, hence not negative; interpolation leaves some.

    ADC maps are judged by :class:`ScaleADCd`, which converts their units too.

    Args:
        key: name of the modality, as in a datalist.
        values: finite values of any shape.
    """
    low, high = float(values.min()), float(values.max())
    if low == high:
        return ""  # constant, which is a warning of its own
    if key == "ct" and low > -200:
        return f"values from {low:g} to {high:g} hold no air; is it a CT in HU?"
    if key == "pet" and (low < -10 or high > 1000):
        what = "a CT, or activity in Bq/ml" if low >= -10 else "a CT"
        return f"values from {low:g} to {high:g} are no SUV; is it {what}?"
    if key == "pet" and high < 0.5:
        return f"values from {low:g} to {high:g} are no SUV: no voxel has taken up anything"
    if key in MAGNITUDE and (negative := float((values < 0).float().mean())) > 0.05:
        return f"{negative:.0%} of the voxels are negative, a magnitude has none; is it a CT, or normalized before?"
    return ""


def misnamed(key: str, path: str | Path, keys: Collection[str]) -> str:
    """The other one of ``keys`` whose name a file bears; "" if it bears its own key's name or nobody's.

    Args:
        key: key under which the file is given.
        path: path of the file; the name of a directory counts too.
        keys: keys of all modalities of the case.
    """
    words = set(re.split(r"[^a-z0-9]+", Path(path).name.lower()))
    if words & NAMES.get(key, {key}):
        return ""
    return next((other for other in keys if other != key and words & NAMES.get(other, set())), "")
