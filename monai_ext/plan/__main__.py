"""``python -m monai_ext.plan --bundle B --datalist FILE --dataset_dir DIR``."""

from ..command_line import run_commands
from .planner import plan

if __name__ == "__main__":
    run_commands(plan, name="python -m monai_ext.plan")
