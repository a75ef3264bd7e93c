"""The checks of a datalist alone: ``python -m monai_ext.check --datalist FILE --dataset_dir DIR``.

Exit codes: 0 nothing wrong, or warnings only; 2 the command is wrong; 3 the data has errors.
"""

from __future__ import annotations

import json as json_module
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from .command_line import run_commands
from .data.preflight import Problem, check_datalist
from .errors import ConfigError

__all__ = ["check", "format_problems"]


def format_problems(problems: Sequence[Problem]) -> str:
    """Problems as a table of text, one row each, and a line that counts them."""
    errors = sum(problem.severity == "error" for problem in problems)
    rows = [("severity", "case", "file", "cause", "remedy")]
    rows += [(p.severity, p.case or "-", p.file or "-", p.cause, p.remedy) for p in problems]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    count = f"{errors} error(s), {len(problems) - errors} warning(s)"
    return "\n".join([*lines, "", count]) if problems else count


def check(
    datalist: str,
    dataset_dir: str,
    keys: str | Sequence[str] = (),
    section: str | Sequence[str] | None = None,
    folds: int | Sequence[int] | None = None,
    json: str | None = None,
    allow_outside: bool = False,
) -> None:
    """Check every file of a datalist by its header, ids, patients and paths, and print what is wrong.

    Exit codes: 0 nothing wrong, or warnings only; 2 the command is wrong; 3 the data has errors.

    Args:
        datalist: the JSON to check.
        dataset_dir: the directory that its paths are relative to.
        keys: files that every case must have, separated by commas: t2w,adc,hbv,label.
        section: sections to check, all by default.
        folds: folds to check, all by default.
        json: also write the problems to this file, as {"errors": n, "warnings": n, "problems": [...]}.
        allow_outside: accept files outside dataset_dir.
    """
    problems = check_datalist(
        str(datalist),
        str(dataset_dir),
        section=_split(section),
        folds=folds,
        required_keys=_split(keys) or (),
        allow_outside=allow_outside,
    )
    print(format_problems(problems))
    errors = sum(problem.severity == "error" for problem in problems)
    if json is not None:
        report = {"errors": errors, "warnings": len(problems) - errors, "problems": [asdict(p) for p in problems]}
        _write(Path(json), json_module.dumps(report, indent=1) + "\n")
    if errors:
        sys.exit(3)


def _split(value: str | Sequence[str] | None) -> list[str] | None:
    """A list given as ``a,b``, which fire hands on as a string or as a tuple."""
    if value is None:
        return None
    return [part for part in value.split(",") if part] if isinstance(value, str) else [str(part) for part in value]


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error}") from error


if __name__ == "__main__":
    run_commands(check, name="python -m monai_ext.check")
