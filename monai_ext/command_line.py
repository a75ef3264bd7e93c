"""Run functions as commands with fire: a misspelt option is an error, and errors of this package set the exit code."""

from __future__ import annotations

import difflib
import functools
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

import fire

from monai_ext.errors import ConfigError, find_bundle_error

__all__ = ["run_commands", "split_names"]

Command = Callable[..., object]


def run_commands(commands: Command | Mapping[str, Command], name: str) -> None:
    """Run one function, or one of several by its name, with the options of the command line; print its result.

    Exit codes: 0, 2 for a wrong command, that of the error for a :class:`~monai_ext.errors.BundleError`.
    """
    if callable(commands) and {"-h", "--help"} & set(sys.argv[1:]):
        print(_help(commands, name))
        return
    helping = not sys.argv[1:] or {"-h", "--help"} & set(sys.argv[1:])
    if not helping:  # fire calls a function first and reports unused options afterwards
        commands = _strict(commands) if callable(commands) else {key: _strict(c) for key, c in commands.items()}
    try:
        fire.Fire(commands, name=name)
    except Exception as error:
        fault = find_bundle_error(error)  # MONAI wraps what a part of a config raises
        if fault is None:
            raise
        print(f"error: {fault}", file=sys.stderr)
        sys.exit(fault.exit_code)


def _strict(function: Command) -> Command:
    signature = inspect.signature(function)
    known = list(signature.parameters)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values()):
        return function  # it accepts any option and checks them itself

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> object:
        for option in options:
            if option not in known:
                near = difflib.get_close_matches(option, known, n=1)
                hint = f"did you mean --{near[0]}?" if near else f"there are: --{', --'.join(known)}"
                raise ConfigError(f"unknown option --{option}; {hint}")
        return function(*args, **options)

    rest = inspect.Parameter("options", inspect.Parameter.VAR_KEYWORD)
    call.__signature__ = signature.replace(parameters=[*signature.parameters.values(), rest])  # type: ignore[attr-defined]
    return call


def _help(function: Command, name: str) -> str:
    """A function as a command: how it is called, what it does, and its options, from signature and docstring.

    What stands between the first paragraph and the arguments is kept as it is written.
    """
    text, _, rest = (inspect.getdoc(function) or "").partition("\nArgs:\n")
    sections = textwrap.dedent(re.split(r"\n\n(?=\w+:\n)", rest)[0])
    said = dict(re.findall(r"^(\S+): ((?:.|\n(?= ))+)", sections, re.MULTILINE))
    parameters = list(inspect.signature(function).parameters.values())
    open_, needed = [p for p in parameters if p.kind is p.VAR_KEYWORD], [p for p in parameters if p.default is p.empty]
    words = [p.name.upper() for p in needed if p not in open_]
    lines = [f"usage: {name} {' '.join(words)} [--OPTION VALUE ...]", "", text.strip(), "", "Options:"]
    for parameter in parameters:
        free = parameter in open_
        default = "" if free or parameter.default in (parameter.empty, None, "", ()) else f" [{parameter.default}]"
        called = "--..." if free else f"--{parameter.name}"
        about = " ".join(said.get(f"{'**' if free else ''}{parameter.name}", "").split())
        lines += textwrap.wrap(f"{about}{default}", 100, initial_indent=f"  {called:<14} ", subsequent_indent=" " * 17)
    return "\n".join(lines)


def split_names(value: Any) -> list[str]:
    """``a,b`` -> names without duplicates; fire passes it as a string or, if it looks like one, as a tuple."""
    words = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return list(dict.fromkeys(word.strip() for word in words.split(",") if word.strip()))
