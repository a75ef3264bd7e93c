"""What is wrong with a command, found before any work: run ids, names and types of settings, keys of overlays."""

from __future__ import annotations

import difflib
import inspect
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_ext.bundle import Command, setting_of
from monai_ext.errors import ConfigError
from monai_ext.phases.chain import (
    earlier_phases,
    is_shared,
    later_phases,
    phase_config,
    phase_file,
    runnable_ids,
    section_alone,
    settings_alone,
)
from monai_ext.phases.settings import ANY, Kind, Use, find_target, kind_of_setting, parameters_of

__all__ = ["check_command", "refuse_misspelt_options"]


def refuse_misspelt_options(given: Iterable[str], files: Sequence[str], function: Callable[..., Any]) -> None:
    """Refuse a word that is no setting of a config and nearly an option of the function that takes settings too.

    Raises:
        ConfigError: names the option.
    """
    options = [name for name, p in inspect.signature(function).parameters.items() if p.kind is not p.VAR_KEYWORD]
    known = ConfigParser.load_config_files(list(files))
    for key in given:
        top = setting_of(key)
        if top not in known and (near := difflib.get_close_matches(top, options, n=1)):
            raise ConfigError(f"unknown option --{key}; did you mean --{near[0]}?")


def check_command(command: Command) -> dict[str, Any]:
    """Check the words of a command against the configs it names.

    A setting of the config, an argument of a ``_target_`` in it, and a setting of an earlier phase under that phase's
    name (``pretrain#max_epochs``) are known. An overlay may also hold settings of the bundle's other configs, so that
    one overlay serves training, evaluation and inference, and keys that something refers to by ``@key``.

    Args:
        command: as :func:`monai_ext.bundle.running_command` found it.

    Returns:
        What the config has to be given on top of what MONAI has merged: of a phase that is run alone,
        :func:`settings_alone` below the command line's words for them, and overrides whose value is not what the config
        means, as it means them: ``{"amp": False}`` for ``--amp no``.

    Raises:
        ConfigError: in one line, what is wrong and the nearest name. Also for a list of items on the command line that
            holds what a config evaluates: names of patients and files are data.
    """
    if not command.config_files:
        return {}
    alone = settings_alone(command.config_files)
    config = ConfigParser.load_config_files(list(command.config_files)) | alone
    runnable = runnable_ids(config)
    if command.run_id not in runnable:
        hint = _nearest(command.run_id, runnable)
        raise ConfigError(f"there is no run {command.run_id!r}{hint}: there are {', '.join(runnable)}")
    folder = Path(command.config_files[0]).parent
    problems = list(_check_overlays(command.config_files, config, folder))
    given = {key: value for key, value in command.overrides.items() if setting_of(key.lstrip("+")) in alone}
    for key, value in command.overrides.items():
        try:
            kind = _kind_of_override(key.lstrip("+"), config, folder)
            found = kind.convert(value)
        except LookupError as error:
            problems.append(str(error.args[0]))
        except ValueError as error:
            problems.append(f"--{key} {error}")
        else:
            if key == "datalist" and (code := _code_in(value)):
                problems.append(f"--datalist holds {code!r}, which would be evaluated: write the list to a file")
            if found is not value:
                given[key.lstrip("+")] = found
    if problems:
        files = ", ".join(os.path.basename(file) for file in command.config_files)
        raise ConfigError(f"{'; '.join(problems)} ({files})")
    return alone | given


def _code_in(value: Any, inside: bool = False) -> str:
    """What MONAI would evaluate, refer to or make within a list of items; "" if there is nothing."""
    if isinstance(value, Mapping):
        made = next((str(key) for key in value if str(key) in ("_target_", "_code_")), "")
        return made or next(filter(None, (_code_in(part, True) for part in (*value, *value.values()))), "")
    if isinstance(value, list | tuple):
        return next(filter(None, (_code_in(part, True) for part in value)), "")
    return value if inside and isinstance(value, str) and value[:1] in ("$", "@", "%") else ""


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _settings(config: Mapping[str, Any]) -> list[str]:
    return [key for key in config if key[:1] != "_"]


def _kind_of_override(key: str, config: Mapping[str, Any], folder: Path) -> Kind:
    """What the setting that a key names may hold.

    Raises:
        LookupError: there is no such setting.
    """
    top, _, rest = key.partition("#")
    if rest and top in (*earlier_phases(config), *later_phases(config)):
        phase, shared = phase_config(folder, top, config), setting_of(rest)
        if is_shared(shared, config, phase):
            raise LookupError(f"{key!r} is a setting of all phases: say {shared!r}")
        try:
            return _kind_of_override(rest, phase, folder)
        except LookupError as error:
            raise LookupError(f"{top}: {error.args[0]}") from None
    if top not in config:
        for earlier in earlier_phases(config):
            if top in ConfigParser.load_config_file(phase_file(folder, earlier)):
                raise LookupError(f"{key!r} is a setting of an earlier phase: say '{earlier}#{key}'")
        raise LookupError(f"no setting {key!r}{_nearest(top, _settings(config))}")
    _refuse_half(key, config)
    return kind_of_setting(config, top) if not rest else _kind_below(config[top], top, rest.split("#"))


def _refuse_half(key: str, config: Mapping[str, Any]) -> None:
    """Refuse to change in the network alone what other parts take from the same setting, such as the image's size.

    Raises:
        LookupError: names the setting.
    """
    holder, _, part = key.partition("#")
    network = config[holder] if holder == "network_def" else None
    written = re.fullmatch(r"@(\w+)", str(network.get(part))) if isinstance(network, Mapping) else None
    others = str([value for name, value in config.items() if name != holder])
    if written and re.search(rf"@{written[1]}\b", others):
        raise LookupError(f"{key!r} is not of the network alone: say {written[1]!r}")


def _kind_below(node: Any, path: str, keys: Sequence[str]) -> Kind:
    """Kind of what stands below a node of a config; what a reference or an expression gives cannot be looked into."""
    key, *rest = keys
    if isinstance(node, list):
        if not key.isdigit() or int(key) >= len(node):
            raise LookupError(f"no setting '{path}#{key}': {path} has the elements 0 to {len(node) - 1}")
        return _kind_below(node[int(key)], f"{path}#{key}", rest) if rest else ANY
    if not isinstance(node, Mapping):
        raise LookupError(f"no setting '{path}#{key}': {path} has no parts")
    if rest and key in node:
        return _kind_below(node[key], f"{path}#{key}", rest)
    target = find_target(node["_target_"]) if isinstance(node.get("_target_"), str) else None
    known = parameters_of(target) if target is not None else {}
    free = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    if key in node or free or key in ("_target_", "_disabled_"):
        return _kind_of_parameter(target, key) if target is not None and key in known else _plain_kind(node, key)
    if key in known and not rest:
        return _kind_of_parameter(target, key)
    nearest = _nearest(key, [*known, *(k for k in node if k[:1] != "_")])
    if nearest:
        nearest = nearest.replace("mean '", f"mean '{path}#")
    raise LookupError(f"no setting '{path}#{key}'{nearest}")


def _plain_kind(node: Mapping[str, Any], key: str) -> Kind:
    return kind_of_setting(node, key) if key in node and "_target_" not in node else ANY


def _kind_of_parameter(target: Any, name: str) -> Kind:
    kind = Use(target, name).kind
    return kind.or_none() if parameters_of(target)[name].default is None else kind


def _check_overlays(files: Sequence[str], config: Mapping[str, Any], folder: Path) -> Iterator[str]:
    base = ConfigParser.load_config_file(files[0])
    references = set(re.findall(r"@(\w+)", str(config)))
    others: set[str] = {"finalize"}
    for path in sorted(folder.glob("*.json")):
        other = ConfigParser.load_config_file(path)
        others |= other.keys() if "run" in other else set()
    phases = [*earlier_phases(config), *later_phases(config)]
    if alone := section_alone(files[0], base):
        phases.append(alone)
    for file in files[1:]:
        overlay = ConfigParser.load_config_file(file)
        name = os.path.basename(file)
        for key in overlay:
            top = setting_of(key.lstrip("+"))
            if key[:1] != "_" and top not in base and top not in references | others:
                yield f"no setting {top!r}{_nearest(top, [*_settings(base), *others])} for {name}"
        for phase in phases:
            known = base if phase == alone else phase_config(folder, phase, config)
            for key in overlay.get(phase, {}):
                if setting_of(key) not in known and key[:1] != "_":
                    yield f"{name}: {phase} has no setting {key!r}{_nearest(key, _settings(known))}"
