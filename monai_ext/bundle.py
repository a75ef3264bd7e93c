"""The bundle that is running: its config, the command that asked for it, its folder, and what describes the run.

MONAI hands an expression of a config neither its parser nor the command line, and drops overrides that it does not know
without a word. Both are on the call stack while the expression is evaluated.
"""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow
from monai.utils import ensure_tuple

from monai_ext.errors import ConfigError

__all__ = [
    "Command",
    "Shipped",
    "bundle_metadata",
    "bundle_name",
    "config_files",
    "find_overlay",
    "find_root",
    "find_row",
    "find_shipped",
    "nested_run",
    "remember_run",
    "running_command",
    "running_parser",
    "running_record",
    "setting_of",
]

# Arguments of MONAI's own ``run``, which are no settings of a config.
MONAIS = frozenset(
    [
        *("run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file"),
        *("workflow_name", "workflow_type"),
    ]
)
TRACKING = frozenset(("tracking_uri", "experiment_name", "run_name", "save_execute_config"))


_nested = False


@contextmanager
def nested_run() -> Iterator[None]:
    """While this lasts, configs are evaluated that the command line does not name; then the run goes on as it was."""
    global _nested, _root, _record
    before, _nested = (_nested, _root, _record), True
    try:
        yield
    finally:
        _nested, _root, _record = before


def setting_of(key: str) -> str:
    """The top-level setting that a key is part of.

    Example:
        >>> from monai_ext.bundle import setting_of
        >>> setting_of("optimizer#lr"), setting_of("optimizer::lr"), setting_of("max_epochs")
        ('optimizer', 'optimizer', 'max_epochs')
    """
    return key.replace("::", "#").split("#")[0]


@dataclass(frozen=True)
class Command:
    """A ``python -m monai.bundle run``.

    Args:
        run_id: what is run.
        config_files: the config and its overlays, in their order.
        overrides: settings given with it, as fire or Python handed them over.
    """

    run_id: str = "run"
    config_files: tuple[str, ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        yield frame
        frame = frame.f_back


def running_parser() -> ConfigParser:
    """The parser of the innermost config that is being evaluated.

    Raises:
        RuntimeError: no config is being evaluated.
    """
    for frame in _frames():
        found = frame.f_locals.get("self")
        if isinstance(found, ConfigParser):
            return found
    raise RuntimeError("this function is for expressions of a config: no config is being evaluated")


def running_command() -> Command | None:
    """The ``monai.bundle.run`` that is evaluating a config; None when something else does."""
    for frame in () if _nested else _frames():
        if frame.f_code.co_name == "run" and frame.f_globals.get("__name__") == "monai.bundle.scripts":
            return _read(frame.f_locals)
    return None


def _read(given: Mapping[str, Any]) -> Command:
    asked = ConfigParser.load_config_file(given["args_file"]) if given.get("args_file") else {}
    asked |= {key: value for key, value in given.items() if key in MONAIS and value is not None}
    files = asked.get("config_file")
    # fire hands over "['a.json','b.json']" as a list; a word with commas stays one string.
    files = tuple(str(file) for file in ensure_tuple(files)) if files is not None else ()
    known = MONAIS | (TRACKING if asked.get("tracking") else frozenset())
    overrides = {**asked, **given.get("override", {})}
    overrides = {key.replace("::", "#"): value for key, value in overrides.items() if key not in known}
    return Command(str(asked.get("run_id") or "run"), files, overrides)


def find_root(name: str) -> str:
    """Directory of a bundle.

    Tried in this order: the directory that the config file of the command or the workflow belongs to, the working
    directory, ``bundles/<name>`` and ``<name>`` below it, and ``bundles/<name>`` in the repository of this package.

    Args:
        name: directory name of the bundle, or its path.

    Returns:
        Absolute path.

    Raises:
        ConfigError: when none of them is the bundle.
    """
    if (Path(name) / "configs" / "metadata.json").is_file():
        return str(Path(name).resolve())
    cwd, command = Path.cwd(), running_command()
    tried = [Path(file).resolve().parent.parent for file in (command.config_files[:1] if command else ())]
    tried += _workflow_roots()
    tried += [cwd, cwd / "bundles" / name, cwd / name, Path(__file__).parents[1] / "bundles" / name]
    for folder in tried:
        if folder.name == name and (folder / "configs" / "metadata.json").is_file():
            return str(folder)
    known = sorted({path.parents[1].name for folder in tried for path in folder.parent.glob("*/configs/metadata.json")})
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise ConfigError(
        f"cannot find the bundle {name}{hint}: tried {', '.join(map(str, dict.fromkeys(tried)))}. "
        "Start in the repository or in the bundle's own directory, or give --bundle_root"
    )


def _workflow_roots() -> list[Path]:
    """Directory of the bundle whose workflow evaluates a config without a command, as ``monai.bundle.load`` does."""
    workflows = [frame.f_locals.get("self") for frame in _frames()]
    return [
        Path(workflow.config_root_path).resolve().parent
        for workflow in workflows
        if isinstance(workflow, ConfigWorkflow) and hasattr(workflow, "config_root_path")
    ][:1]


def find_overlay(folder: Path, name: str, what: str = "overlay") -> Path:
    """A config by its name in a folder, or by its path.

    Args:
        folder: where configs are known by their names.
        name: such as ``from_scratch``; or a path that ends with .json.
        what: word for it in the message.

    Raises:
        ConfigError: when there is none; names the nearest.
    """
    path = Path(name) if name.endswith(".json") else folder / f"{name}.json"
    if not path.is_file():
        known = sorted(p.stem for p in folder.glob("*.json"))
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known) or 'none'}"
        raise ConfigError(f"no {what} {name!r} in {folder}; {hint}")
    return path.resolve()


def find_row(root: Path, name: str) -> list[Path]:
    """The overlays of a row of a bundle's tables: that of ``dense_ae``; of ``dense_ae+zero_maps`` both, in this order.

    Raises:
        ConfigError: when there is no such overlay; names the nearest.
    """
    return [find_overlay(root / "configs/variants", part, "row") for part in name.split("+")]


def config_files(root: Path, phase: str, overlays: Iterable[str]) -> list[str]:
    """The config of a phase and overlays over it: each is demo, a name in ``configs/variants/``, or a file.

    Raises:
        ConfigError: when there is no such overlay; names the nearest.
    """
    named = [(root / "configs" / f"{name}.json", name) for name in overlays]
    found = [inside if inside.is_file() else find_overlay(root / "configs/variants", name) for inside, name in named]
    return [str(root / "configs" / f"{phase}.json"), *map(str, found)]


@dataclass(frozen=True)
class Shipped:
    """Weights that come with a bundle, in ``weights/<name>/`` of it.

    Attributes:
        folder: that holds them.
    """

    folder: Path

    @property
    def weights(self) -> Path:
        """Of the network."""
        return self.folder / "model.safetensors"

    @property
    def overlay(self) -> Path:
        """Settings that they were trained with, such as the size of the network."""
        return self.folder / "overlay.json"

    @property
    def card(self) -> Path:
        """What they learned from, and how well they do."""
        return self.folder / "model_card.md"


def find_shipped(root: Path, name: object) -> Shipped | None:
    """Weights that come with a bundle, by their name; None where the name is a path, or none.

    Raises:
        ConfigError: it looks like a name, and the bundle has no such weights.
    """
    if not isinstance(name, str) or Path(name).exists() or not name.isidentifier():
        return None
    if (root / "weights" / name).is_dir():
        return Shipped(root / "weights" / name)
    known = sorted(path.name for path in (root / "weights").glob("*/"))
    there = f"there are {', '.join(known)}" if known else "none come with it"
    raise ConfigError(f"{root.name} has no weights {name!r}: {there}. Give one of them, or a file")


_root: Path | None = None
_record: dict[str, Any] | Callable[[], dict[str, Any]] | None = None


def remember_run(root: str | Path, record: Callable[[], dict[str, Any]] | None = None) -> None:
    """Note the directory of the bundle that runs, and what finds out what makes the run's product."""
    global _root, _record
    _root = Path(root).resolve() if (Path(root) / "configs/metadata.json").is_file() else None
    _record = record


def running_record() -> dict[str, Any] | None:
    """What makes the product of the run; None where no phase of a bundle is running.

    It is found out at the first call, when the earlier phases have made what this one starts from.
    """
    global _record
    if callable(_record):
        _record = _record()
    return _record


def bundle_name() -> str:
    """Name of the bundle's directory; empty where no bundle is running."""
    return _root.name if _root else ""


def bundle_metadata() -> dict[str, Any]:
    """The bundle's ``metadata.json``; empty where no bundle is running."""
    return json.loads((_root / "configs/metadata.json").read_text()) if _root else {}
