"""The start of every phase: readable errors, a checked command, the folder to write to, the seeds."""

from __future__ import annotations

import fcntl
import os
from typing import IO

import torch
from monai.utils import set_determinism

from monai_ext.bundle import remember_run, running_command, running_parser
from monai_ext.errors import ConfigError, install_excepthook
from monai_ext.phases.command import check_command
from monai_ext.phases.identity import identify

__all__ = ["claim_output", "start"]

_locks: dict[str, IO[str]] = {}


def claim_output(output_dir: str) -> None:
    """Make the output folder, see that it can be written, and keep other runs out of it until this process ends.

    Raises:
        ConfigError: it cannot be written, or another run is using it.
    """
    folder = os.path.realpath(output_dir)
    if folder in _locks:
        return
    try:
        os.makedirs(folder, exist_ok=True)
        lock = open(os.path.join(folder, ".lock"), "a")  # noqa: SIM115  (held until the process ends)
    except OSError as error:
        raise ConfigError(f"cannot write to {folder}: {error.strerror}. Give another --output_dir") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise ConfigError(f"another run is writing to {folder}. Wait for it, or give another --output_dir") from None
    _locks[folder] = lock


def start() -> None:
    """Check the command and begin: what a config calls as ``initialize``, before anything else of it is evaluated.

    The config's ``bundle_root`` and ``output_dir`` are used, and its ``seed`` for weights, shuffling and augmentation
    (0 where it has none). Values of the command line take the type that the config means: ``--amp no`` is false.

    Raises:
        ConfigError: see :func:`monai_ext.phases.command.check_command` and :func:`claim_output`.
    """
    install_excepthook()
    parser, command = running_parser(), running_command()
    if command is not None:
        converted = check_command(command)
        for key, value in converted.items():
            parser[key] = value
        if converted:
            parser.parse(reset=True)
    remember_run(parser.get_parsed_content("bundle_root"), identify(parser))
    if int(os.environ.get("RANK", 0)) == 0:
        claim_output(parser.get_parsed_content("output_dir"))
    deterministic = torch.are_deterministic_algorithms_enabled()
    set_determinism(parser.get_parsed_content("seed") if "seed" in parser else 0)
    # MONAI also switches cuDNN's search for the fastest kernels off; the sizes of these networks never change.
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = deterministic, not deterministic
