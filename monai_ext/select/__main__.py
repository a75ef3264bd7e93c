"""``python -m monai_ext.select --bundle B --datalist FILE --dataset_dir DIR``."""

from monai_ext.command_line import run_commands
from monai_ext.select.command import main

if __name__ == "__main__":
    run_commands(main, name="python -m monai_ext.select")
