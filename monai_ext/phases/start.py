"""The start of every phase: readable errors, a checked command, the folder to write to, the seeds."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from monai.bundle.utils import merge_kv
from monai.utils import set_determinism

from monai_ext.bundle import remember_run, running_command, running_parser
from monai_ext.data.io.claim import claim
from monai_ext.data.io.whole_file import sweep
from monai_ext.errors import ConfigError, install_excepthook
from monai_ext.networks import is_null
from monai_ext.networks.published import is_named
from monai_ext.phases.command import check_command
from monai_ext.phases.identity import identify
from monai_ext.phases.library_noise import quiet_libraries
from monai_ext.sigterm import end_on_sigterm

__all__ = ["start"]


def _claim(output_dir: str, product: str | None) -> None:
    """Make the output folder, see that it can be written, and keep other runs out of it and of the product."""
    try:
        os.makedirs(output_dir, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write to {output_dir}: {error.strerror}. Give another --output_dir") from error
    claim(output_dir)
    sweep(output_dir, deep=True)
    if product is not None:
        claim(product)
        sweep(Path(product).parent)


def start() -> None:
    """Check the command and begin: what a config calls as ``initialize``, before anything else of it is evaluated.

    The config's ``bundle_root`` and ``output_dir`` are used, and its ``seed`` for weights, shuffling and augmentation
    (0 where it has none). Values of the command line take the type that the config means: ``--amp no`` is false. A
    phase of a chain that is run alone takes what overlays of the chain say of it.

    Output folder and product are claimed for this run, and what killed runs left half-written there is removed.

    Raises:
        ConfigError: see :func:`monai_ext.phases.command.check_command` and :func:`monai_ext.data.io.claim.claim`.
    """
    install_excepthook()
    end_on_sigterm()
    quiet_libraries()
    parser, command = running_parser(), running_command()
    if command is not None:
        changed = check_command(command)
        for key, value in changed.items():
            merge_kv(parser, key, value)
        if changed:
            parser.parse(reset=True)
    remember_run(parser.get_parsed_content("bundle_root"), lambda: identify(parser))
    if int(os.environ.get("RANK", 0)) == 0:
        product = parser.get_parsed_content("product") if "product" in parser else None
        _claim(parser.get_parsed_content("output_dir"), None if is_null(product) or is_named(product) else product)
    deterministic = torch.are_deterministic_algorithms_enabled()
    set_determinism(parser.get_parsed_content("seed") if "seed" in parser else 0)
    # MONAI also switches cuDNN's search for the fastest kernels off; the sizes of these networks never change.
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = deterministic, not deterministic
