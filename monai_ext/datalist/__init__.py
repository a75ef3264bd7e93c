"""Datalists from the official layouts of public data sets, one module per data set.

``python -m monai_ext.datalist <data set> --root DIR --out FILE``; ``--help`` after the name lists its options. Exit
codes: 0 written; 2 the command is wrong; 3 files are missing or unreadable (all are named, nothing is written).
"""

from collections.abc import Callable

from .brats import brats
from .hecktor import hecktor
from .picai import picai
from .prostate158 import prostate158
from .prostatex import prostatex
from .writer import Collection

__all__ = ["COMMANDS", "Collection"]

COMMANDS: dict[str, Callable[..., object]] = {
    "brats": brats,
    "hecktor": hecktor,
    "picai": picai,
    "prostate158": prostate158,
    "prostatex": prostatex,
}
