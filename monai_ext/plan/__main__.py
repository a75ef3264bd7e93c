"""``python -m monai_ext.plan --bundle B --datalist FILE --dataset_dir DIR``."""

from monai_ext.command_line import run_commands
from monai_ext.plan.planner import plan

if __name__ == "__main__":
    run_commands(plan, name="python -m monai_ext.plan")
