"""Run ``python -m monai.bundle`` many times without repeating the imports."""

from __future__ import annotations

import atexit
import importlib
import os
import runpy
import subprocess
import sys
from collections.abc import Sequence

import torch

from monai_ext.phases.library_noise import quiet_libraries

__all__ = ["import_parts", "run_bundle_process"]

PARTS = ("data", "engines", "handlers", "inferers", "losses", "maskers", "metrics", "networks", "phases", "transforms")


def import_parts() -> None:
    """Import all that configs name, once for the processes that are forked from this one."""
    for part in PARTS:
        module = importlib.import_module(f"monai_ext.{part}")
        for name in module.__all__:
            getattr(module, name)  # data imports what it exports on use


def run_bundle_process(arguments: Sequence[str]) -> int:
    """Run ``python -m monai.bundle ARGUMENTS`` in a separate process and return its exit code.

    On Linux the process is a fork of this one, in which torch, MONAI and this package are already imported, which saves
    a short run some seconds. On other systems, and once this process uses a GPU, which a fork could not use, it is a
    new process.

    Args:
        arguments: the arguments of ``python -m monai.bundle``, for example ``["run", "training",
            "--config_file=train.json"]``.
    """
    if sys.platform != "linux" or torch.cuda.is_initialized():
        return subprocess.run([sys.executable, "-m", "monai.bundle", *arguments]).returncode
    import_parts()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os._exit(_child(arguments))  # never back into the caller's code
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _child(arguments: Sequence[str]) -> int:
    code = 0
    sys.argv = ["monai.bundle", *arguments]
    quiet_libraries()
    try:
        runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 130 if isinstance(error, KeyboardInterrupt) else 1
    atexit._run_exitfuncs()  # such as the last lines of a TensorBoard file
    sys.stdout.flush()
    sys.stderr.flush()
    return code
