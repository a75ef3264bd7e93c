"""Check that a volume looks like its modality: a network would accept swapped modalities and other units."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from torch import Tensor

__all__ = ["implausible", "misnamed"]

MAGNITUDE = ("t2w", "hbv", "dwi", "t1", "t1ce", "t2", "flair")
# Words in file names that name a modality.
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
    """Reason why the values do not fit a modality; "" if they fit or the modality is unknown.

    - ``ct``: Hounsfield units. Air has -1000; a volume without air is not a CT, or its offset is lost.
    - ``pet``: SUV. Scatter correction leaves few values slightly below 0; activity in Bq/ml reaches thousands.
    - T2W, high-b and other MR: magnitudes, which are not negative except for few values by interpolation.

    ADC maps are judged by :class:`ScaleADCd`, which converts their units too.

    Args:
        key: name of the modality, as in a datalist.
        values: finite values of any shape.
    """
    low, high = float(values.min()), float(values.max())
    if low == high:
        return ""  # constant, which gives its own warning
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
    """Other key of ``keys`` whose name occurs in the name of a file; "" if its own key's name or no name occurs.

    Args:
        key: key under which the file is given.
        path: path of the file; the name of a directory counts too.
        keys: keys of all modalities of the case.
    """
    words = set(re.split(r"[^a-z0-9]+", Path(path).name.lower()))
    if words & NAMES.get(key, {key}):
        return ""
    return next((other for other in keys if other != key and words & NAMES.get(other, set())), "")
