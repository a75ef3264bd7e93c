"""``python -m monai_ext.table --bundle B --rows R1,R2``."""

from monai_ext.command_line import run_commands
from monai_ext.table.command import table

if __name__ == "__main__":
    run_commands(table, name="python -m monai_ext.table")
