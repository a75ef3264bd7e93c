"""What every bundle's configs call: where the bundle is, whether the command makes sense, and its earlier phases."""

from __future__ import annotations

import difflib
import fcntl
import logging
import os
import random
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

import monai.bundle
import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.utils import ensure_tuple, set_determinism

from monai_ext.errors import ConfigError, install_excepthook
from monai_ext.handlers import is_null
from monai_ext.identity import remember_bundle
from monai_ext.networks.published import is_named

__all__ = ["check_overrides", "claim_output", "find_root", "initialize", "run_phase", "run_phase_if_missing"]

logger = logging.getLogger(__name__)
_locks: dict[str, IO[str]] = {}


def _command() -> dict[str, Any]:
    """Arguments of the ``monai.bundle.run`` that is evaluating the config, empty when something else does.

    MONAI does not hand a config the command that loads it, and drops what it does not know without a word; the calling
    frame has both.
    """
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "run" and frame.f_globals.get("__name__") == "monai.bundle.scripts":
            return frame.f_locals
        frame = frame.f_back
    return {}


def _config_files(command: Mapping[str, Any]) -> tuple[str, ...]:
    files = command.get("config_file")
    if files is None and command.get("args_file"):
        files = ConfigParser.load_config_file(command["args_file"]).get("config_file")
    # fire hands over "['a.json','b.json']" as a list; a word with commas stays one string.
    return tuple(str(f) for f in ensure_tuple(files)) if files is not None else ()


def find_root(name: str) -> str:
    """Directory of a bundle.

    Tried in this order: the directory that the config file on the command line belongs to, the working directory, and
    ``bundles/<name>`` and ``<name>`` below it.

    Args:
        name: directory name of the bundle.

    Returns:
        Absolute path.

    Raises:
        ConfigError: when none of them is the bundle.
    """
    install_excepthook()  # a config asks for its root before anything else can fail
    cwd = Path.cwd()
    tried = [Path(file).resolve().parent.parent for file in _config_files(_command())[:1]]
    tried += [cwd, cwd / "bundles" / name, cwd / name]
    for folder in tried:
        if folder.name == name and (folder / "configs" / "metadata.json").is_file():
            remember_bundle(folder)
            return str(folder)
    raise ConfigError(
        f"cannot find the bundle {name}: tried {', '.join(map(str, dict.fromkeys(tried)))}. "
        "Start in the repository or in the bundle's own directory, or give --bundle_root"
    )


def _ids(config: Any, prefix: str = "") -> list[str]:
    """Every id of a config, nested ones joined by ``#``."""
    items = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    found = []
    for key, value in items:
        found += [f"{prefix}{key}", *_ids(value, f"{prefix}{key}#")]
    return found


def _other_configs_keys(file: str) -> set[str]:
    """Top-level keys of the configs in a config's folder that can run by themselves."""
    configs = (ConfigParser.load_config_file(path) for path in sorted(Path(file).parent.glob("*.json")))
    return {key for config in configs if "run" in config for key in config}


def check_overrides() -> None:
    """Refuse overrides that no config knows; MONAI would ignore them.

    An override is known when one of the config files has its id, or when it adds an argument to a ``_target_``, which
    checks its own arguments, or to a section ``..._args``, which is handed to another phase and checked there. MONAI
    itself stops at ``section#key`` without such a section. An overlay file may add keys that something refers to by
    ``@key``, and keys of the bundle's other configs: one overlay then serves training, evaluation and inference.

    Raises:
        ConfigError: naming the nearest id for each unknown one.
    """
    command = _command()
    files = _config_files(command)
    if not files:
        return
    config = ConfigParser.load_config_files(list(files))
    known = _ids(config)
    overrides = dict(command.get("override", {}))
    if command.get("args_file"):
        overrides |= ConfigParser.load_config_file(command["args_file"])
    own = {"run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file"}
    own |= {"workflow_name", "workflow_type"}
    tracking = (
        {"tracking_uri", "experiment_name", "run_name", "save_execute_config"} if command.get("tracking") else set()
    )
    asked = [key.replace("::", "#").lstrip("+") for key in overrides if key not in own | tracking]
    base = ConfigParser.load_config_file(files[0])
    references = set(re.findall(r"@(\w+)", str(config)))
    others = _other_configs_keys(files[0]) | {
        str(command.get("final_id") or "finalize")
    }  # MONAI runs it if it is there
    added = [key.lstrip("+") for file in files[1:] for key in ConfigParser.load_config_file(file)]
    asked += [key for key in added if key not in base and key not in references | others and key[0] != "_"]
    unknown = []
    for key in dict.fromkeys(asked):
        parent = "#".join(key.split("#")[:-1])
        declared = key in known if "#" in key else key in base or key in references
        if not declared and f"{parent}#_target_" not in known and not parent.endswith("_args"):
            near = difflib.get_close_matches(key, [k for k in known if k != key], n=1, cutoff=0.5)
            unknown.append(repr(key) + (f" (did you mean {near[0]!r}?)" if near else ""))
    if unknown:
        raise ConfigError(f"no config of this run has {', '.join(unknown)}: {', '.join(map(os.path.basename, files))}")


def claim_output(output_dir: str) -> None:
    """Make the output folder, see that it can be written, and keep other runs out of it until this process ends.

    Raises:
        ConfigError: when it cannot be written, or another run is using it.
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


def initialize(output_dir: str, seed: int = 0) -> None:
    """Start of every phase: readable errors, the override check, the output folder, and the seeds.

    Args:
        output_dir: folder the run writes to.
        seed: of weights, shuffling and augmentation.

    Raises:
        ConfigError: see :func:`check_overrides` and :func:`claim_output`.
    """
    install_excepthook()
    check_overrides()
    for file in _config_files(_command())[:1]:  # with --bundle_root nobody asks find_root
        remember_bundle(Path(file).resolve().parent.parent)
    if int(os.environ.get("RANK", 0)) == 0:
        claim_output(output_dir)
    deterministic = torch.are_deterministic_algorithms_enabled()
    set_determinism(seed)
    # MONAI also switches cuDNN's search for the fastest kernels off; the sizes of these networks never change.
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = deterministic, not deterministic


def run_phase(run_id: str, config_file: str | Sequence[str], **overrides: Any) -> None:
    """Run another config of the bundle in this process, as ``python -m monai.bundle run`` would.

    The caller's random numbers go on as if nothing had run, so that a run starts from the same weights whether its
    earlier phase came first or was there already.
    """
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        monai.bundle.run(run_id, config_file=config_file, **overrides)
    random.setstate(states[0])
    np.random.set_state(states[1])


def run_phase_if_missing(product: str | None, run_id: str, config_file: str | Sequence[str], **overrides: Any) -> None:
    """Run the phase that makes ``product`` unless the file is there or none is asked for (``null``).

    Args:
        product: file that the phase writes, or published weights in its place (``hub:OWNER/NAME``, a name).
        run_id: for example ``pretraining``.
        config_file: config of the phase, or several to be merged.
        **overrides: settings handed on to it.
    """
    if is_null(product):
        logger.warning("%s is skipped: training from scratch", run_id)
    elif is_named(product):
        logger.info("%s is not needed: %s are published weights", run_id, product)
    elif os.path.isfile(str(product)):
        logger.info("%s is done already: %s. To do it again, delete that file or name another", run_id, product)
    else:
        logger.info("%s does not exist: %s comes first", product, run_id)
        run_phase(run_id, config_file, **overrides)
