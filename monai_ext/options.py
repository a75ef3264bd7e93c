"""What can be set in a bundle: ``python -m monai_ext.options --bundle prostate_mae``.

Exit codes: 0; 2 the command is wrong.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_ext.bundle import find_root
from monai_ext.command_line import run_commands
from monai_ext.errors import ConfigError
from monai_ext.phases.chain import (
    earlier_phases,
    is_shared,
    later_phases,
    phase_config,
    phase_file,
    runnable_ids,
)
from monai_ext.phases.settings import Setting, describe_settings

__all__ = ["list_settings", "options"]

# Parts that a config is made of, which no command line replaces.
PARTS = frozenset(
    [
        *(
            "imports",
            "phases",
            "later",
            "product",
            "wanted",
            "repeat",
            "train",
            "validate",
            "initialize",
            "network",
            "network_def",
        ),
        *("optimizer", "lr_scheduler", "loss", "inferer", "preprocessing", "postprocessing", "evaluator", "handlers"),
        *("dataset", "dataloader", "steps", "key_metric", "scans"),
    ]
)


def list_settings(config: Mapping[str, Any]) -> list[Setting]:
    """The settings of a phase: its top-level names but for the parts that it is built of.

    Args:
        config: the phase's config as it is written.
    """
    hidden = PARTS | {*runnable_ids(config), *earlier_phases(config), *later_phases(config)}
    names = [
        name
        for name, value in config.items()
        if name not in hidden and name[:1] != "_" and not (isinstance(value, Mapping) and "_target_" in value)
    ]
    return describe_settings(config, names)


def options(bundle: str, phase: str | None = None, width: int = 110) -> str:
    """List what can be set on the command line and in overlays: name, default, and a sentence.

    ``--NAME VALUE`` sets it. What several phases have reaches all of them, unless it is marked "own": that one is set
    for an earlier phase with ``--PHASE#NAME VALUE``.

    Args:
        bundle: name of the bundle, or its directory.
        phase: train, evaluate, inference or an earlier phase; by default training and the phases before and after it.
        width: columns of the screen.

    Raises:
        ConfigError: there is no such bundle or phase.
    """
    root = Path(find_root(str(bundle)))
    train = ConfigParser.load_config_file(str(root / "configs/train.json"))
    names = [str(phase)] if phase else ["train", *reversed(earlier_phases(train)), *later_phases(train)]
    return "\n".join(line for name in names for line in _describe(root / "configs", name, train, width))


def _describe(configs: Path, name: str, train: Mapping[str, Any], width: int) -> Iterator[str]:
    file = phase_file(configs, name)
    if not file.is_file():
        known = sorted(path.stem for path in configs.glob("*.json") if "run" in json.loads(path.read_text()))
        raise ConfigError(f"{configs.parent.name} has no phase {name!r}: there are {', '.join(known)}")
    own = ConfigParser.load_config_file(str(file))
    config, sections = phase_config(configs, name, train), [*earlier_phases(train), *later_phases(train)]
    yield f"\n{name}: {config.get('_desc_', '')}"
    for setting in list_settings(config):
        if setting.name not in own:
            continue  # of the config that a later phase is laid over
        shared = name not in ("train", "evaluate", "inference") and is_shared(setting.name, train, config)
        if shared and name in earlier_phases(train):
            continue  # listed with the training
        called = f"{name}#{setting.name}" if name in sections else setting.name
        default = setting.default if isinstance(setting.default, str) else json.dumps(setting.default)
        head = f"  --{called}  {setting.kind}; default {textwrap.shorten(default, 60, placeholder=' ...')}"
        yield from textwrap.wrap(head, width, subsequent_indent="      ")
        yield from textwrap.wrap(setting.sentence, width, initial_indent="      ", subsequent_indent="      ")


if __name__ == "__main__":
    run_commands(options, name="python -m monai_ext.options")
