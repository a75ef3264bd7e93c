"""``python -m monai_ext.predict --bundle B INPUT OUTPUT``."""

from monai_ext.command_line import run_commands
from monai_ext.predict.command import main

if __name__ == "__main__":
    run_commands(main, name="python -m monai_ext.predict")
