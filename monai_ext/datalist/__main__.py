"""Command line: ``python -m monai_ext.datalist <data set> --root DIR --out FILE``."""

from __future__ import annotations

from ..command_line import run_commands
from . import COMMANDS

if __name__ == "__main__":
    run_commands(COMMANDS, name="python -m monai_ext.datalist")
