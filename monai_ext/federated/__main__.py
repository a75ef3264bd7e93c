"""``python -m monai_ext.federated``: see :func:`monai_ext.federated.federate`."""

from monai_ext.command_line import run_commands
from monai_ext.federated.job import federate

if __name__ == "__main__":
    run_commands(federate, name="python -m monai_ext.federated")
