"""Command line: ``python -m monai_ext.datalist <data set> --root DIR --out FILE``."""

from __future__ import annotations

from monai_ext.command_line import run_commands
from monai_ext.datalist import COMMANDS

if __name__ == "__main__":
    run_commands(COMMANDS, name="python -m monai_ext.datalist")
