"""Datalists from the official layouts of public data sets, one module per data set.

``python -m monai_ext.datalist <data set> --root DIR --out FILE``; ``--help`` after the name lists its options. Exit
codes: 0 written; 2 the command is wrong; 3 files are missing or unreadable (all are named, nothing is written).
"""

from collections.abc import Callable

from .amos22 import amos22
from .autopet import autopet
from .brats import brats
from .flare22 import flare22
from .hecktor import hecktor
from .longitudinal_ct import longitudinal_ct
from .msd import msd
from .pairs import pairs
from .picai import picai
from .prostate158 import prostate158
from .prostatex import prostatex
from .totalsegmentator import totalsegmentator
from .writer import Collection

__all__ = ["COMMANDS", "Collection"]

COMMANDS: dict[str, Callable[..., object]] = {
    "amos22": amos22,
    "autopet": autopet,
    "brats": brats,
    "flare22": flare22,
    "hecktor": hecktor,
    "longitudinal_ct": longitudinal_ct,
    "msd": msd,
    "pairs": pairs,
    "picai": picai,
    "prostate158": prostate158,
    "prostatex": prostatex,
    "totalsegmentator": totalsegmentator,
}
