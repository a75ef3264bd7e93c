"""``monai.bundle`` in a process that notes which files it writes, and the weights it ends with.

``torchrun ranks.py FOLDER run training ...``: FOLDER takes ``<rank>.txt``, a line per file, and the state dict of every
phase of every rank.
"""

import os
import runpy
import sys
from contextlib import contextmanager
from pathlib import Path

import torch

import monai_ext.data.io.whole_file as writing

folder, rank = Path(sys.argv.pop(1)), os.environ.get("RANK", "0")
write = writing.whole_file


@contextmanager
def noted(path):
    """Write as ever, and keep the path."""
    with write(path) as temporary:
        yield temporary
    with open(folder / f"{rank}.txt", "a") as log:
        log.write(f"{Path(path).resolve()}\n")


writing.whole_file = noted

from ignite.engine import Events  # noqa: E402  (what writes files comes after the line above)
from torch import nn  # noqa: E402

from monai_ext.handlers.training_run import TrainingRun  # noqa: E402

attach = TrainingRun.attach


def attach_and_keep(self, engine):
    """Attach as ever; keep the weights when the phase ends."""
    attach(self, engine)

    def keep(engine):
        names = [name for name, value in vars(engine).items() if isinstance(value, nn.Module) and "network" in name]
        bare = {name: getattr(getattr(engine, name), "module", getattr(engine, name)) for name in names}
        state = {f"{name}.{key}": v.cpu() for name in names for key, v in bare[name].state_dict().items()}
        torch.save(state, folder / f"{self.phase.replace(' ', '_')}_{engine.state.epoch}.{rank}.pt")

    engine.add_event_handler(Events.COMPLETED, keep)


TrainingRun.attach = attach_and_keep
sys.argv[0] = "monai.bundle"
runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
