"""Datalists from the official layouts of public data sets, one module per data set.

``python -m monai_ext.datalist <data set> --root DIR --out FILE``; ``--help`` after the name lists its options. Exit
codes: 0 written; 2 the command is wrong; 3 files are missing or unreadable (the error names all of them, and nothing is
written).
"""

from collections.abc import Callable

from monai_ext.datalist.amos22 import amos22
from monai_ext.datalist.autopet import autopet
from monai_ext.datalist.brats import brats
from monai_ext.datalist.flare22 import flare22
from monai_ext.datalist.hecktor import hecktor
from monai_ext.datalist.longitudinal_ct import longitudinal_ct
from monai_ext.datalist.msd import msd
from monai_ext.datalist.pairs import pairs
from monai_ext.datalist.picai import picai
from monai_ext.datalist.prostate158 import prostate158
from monai_ext.datalist.prostatex import prostatex
from monai_ext.datalist.totalsegmentator import totalsegmentator
from monai_ext.datalist.writer import Collection

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
