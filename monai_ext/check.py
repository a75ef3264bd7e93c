"""The checks of a data set alone: ``python -m monai_ext.check --bundle B --datalist FILE --dataset_dir DIR``.

Exit codes: 0 nothing wrong, or warnings only; 2 the command is wrong; 3 the data has errors.
"""

from __future__ import annotations

import json as json_module
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from monai_ext.command_line import run_commands, split_names
from monai_ext.data.entries import Item, case_of, files_of, read_datalist, resolve, select
from monai_ext.data.io.whole_file import whole_file
from monai_ext.data.preflight import Problem, check_datalist
from monai_ext.errors import ConfigError, DataError, find_bundle_error
from monai_ext.progress_bar import progress_bar

__all__ = ["check", "check_voxels", "format_problems"]

Prepare = Callable[[Mapping[Any, Any]], object]


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
    datalist: str | None = None,
    dataset_dir: str | None = None,
    bundle: str | None = None,
    overlay: str | None = None,
    keys: str | Sequence[str] = (),
    section: str | Sequence[str] | None = None,
    folds: int | Sequence[int] | None = None,
    json: str | None = None,
    headers_only: bool = False,
    allow_outside: bool = False,
) -> None:
    """Find all problems of a data set at once, and print them as a table.

    The check covers ids, patients and paths of the datalist, then the header of every file, then the voxels of every
    case whose headers are fine: NaN, constant volumes, label values, and whether values look like the modality (HU,
    SUV, ADC in 1e-6 mm2/s, DWI). With a bundle each case goes through its preprocessing, so the training will find no
    further problem.

    Exit codes: 0 nothing wrong, or warnings only; 2 the command is wrong; 3 the data has errors.

    Args:
        datalist: the JSON to check; by default the bundle's phantom.
        dataset_dir: the directory that its paths are relative to; by default the bundle's phantom.
        bundle: name or directory of the bundle that the data is for.
        overlay: config to merge into the bundle's train.json, such as a row of its variants/.
        keys: files that every case must have, separated by commas: t2w,adc,hbv,label.
        section: sections to check, all by default.
        folds: folds to check, all by default.
        json: also write the problems to this file, as {"errors": n, "warnings": n, "problems": [...]}.
        headers_only: read no voxels; seconds instead of minutes.
        allow_outside: accept files outside dataset_dir.
    """
    prepare: Prepare = load_files
    if bundle is not None:
        parser = _parse(str(bundle), overlay)
        prepare = parser.get_parsed_content("preprocessing")
        if datalist is None and dataset_dir is None:
            datalist, dataset_dir = (parser.get_parsed_content(key) for key in ("datalist", "dataset_dir"))
    if datalist is None or dataset_dir is None:
        raise ConfigError("give --datalist and --dataset_dir, or --bundle alone to check its phantom")
    sections = read_datalist(str(datalist))
    names = None if section is None else split_names(section)
    problems = check_datalist(
        sections,
        str(dataset_dir),
        section=names,
        folds=folds,
        required_keys=() if keys is None else split_names(keys),
        allow_outside=allow_outside,
    )
    if not headers_only and Path(str(dataset_dir)).is_dir():
        broken = {problem.case for problem in problems if problem.severity == "error"}
        items = [item for name in names or sections for item in select(sections.get(name, []), folds)]
        whole = [item for item in items if case_of(item) not in broken]
        problems += check_voxels(whole, str(dataset_dir), prepare)
    problems.sort(key=lambda problem: problem.severity)
    print(format_problems(problems))
    errors = sum(problem.severity == "error" for problem in problems)
    if json is not None:
        report = {"errors": errors, "warnings": len(problems) - errors, "problems": [asdict(p) for p in problems]}
        _write(Path(json), json_module.dumps(report, indent=1) + "\n")
    if errors:
        sys.exit(3)


def check_voxels(items: Sequence[Item], dataset_dir: str, prepare: Prepare) -> list[Problem]:
    """Problems that ``prepare`` raises or warns of, case by case.

    Args:
        items: items of a datalist whose headers have been checked.
        dataset_dir: the directory that their paths are relative to.
        prepare: function that reads one item with absolute paths, raises DataError, and warns with ``case <id>: <file>:
            <cause>``.
    """
    return [
        problem
        for item in progress_bar(items, "Reading", "case", delay=2)
        for problem in _check_case(item, dataset_dir, prepare)
    ]


def _check_case(item: Item, dataset_dir: str, prepare: Prepare) -> Iterator[Problem]:
    case, whole = case_of(item), dict(item)
    for key, paths in files_of(item).items():
        absolute = [str(resolve(path, dataset_dir, True)) for path in paths]
        whole[key] = absolute if isinstance(item[key], list) else absolute[0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            prepare(whole | {"id": case})
        except Exception as error:
            found = find_bundle_error(error)
            if isinstance(found, DataError) and str(found.file).endswith(".pt"):  # an earlier phase will make it
                cause = f"{found.cause}: what comes after it was not checked"
                yield Problem("warning", case, str(found.file), cause, found.remedy)
            elif not isinstance(found, DataError):
                reason = f"reading it failed: {type(error).__name__}: {error}"
                yield Problem("error", case, "", reason.splitlines()[0], "Check the files of the case.")
            else:
                yield Problem("error", str(found.case or case), str(found.file or ""), found.cause, found.remedy)
    prefix = f"case {case}: "
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        if text.startswith(prefix):
            file, _, cause = text.removeprefix(prefix).rpartition(": ")
            yield Problem("warning", case, file, cause, "Check that it is what it should be.")


def load_files(item: Mapping[Any, Any]) -> None:
    """Load every file of an item unchanged, for data without a named bundle."""
    from monai_ext.data.io.volume import read_volume  # late: a check of files alone does without it
    from monai_ext.transforms import LoadVolumed, ScaleADCd  # late: a check of files alone does without it

    paths = {key: files for key, files in files_of(dict(item)).items() if not isinstance(item[key], list)}
    stacked = "image" in paths and len(paths) <= 2
    loaded: dict[Any, Any] = {"id": item["id"]}
    for key, (path, *_) in paths.items():
        loaded[key] = read_volume(path, item["id"], stacked=True) if stacked and key == "image" else path
    loaded = LoadVolumed(list(paths), masks=("label", "gland", "zones", "seg"))(loaded)
    ScaleADCd("adc", allow_missing_keys=True)(loaded)


def _parse(name: str, overlay: str | None) -> Any:
    """The config of a bundle's training, of which only the requested parts are evaluated."""
    from monai.bundle import ConfigParser  # late: a check of files alone does without it

    tried = [Path(name), Path("bundles") / name, Path(__file__).parents[1] / "bundles" / name]
    root = next((folder.resolve() for folder in tried if (folder / "configs/train.json").is_file()), None)
    if root is None:
        raise ConfigError(f"no bundle {name!r}: tried {', '.join(map(str, tried))}")
    parser = ConfigParser()
    parser.read_config([str(root / "configs/train.json"), *([str(overlay)] if overlay else [])])
    parser["bundle_root"] = str(root)
    return parser


def _write(path: Path, text: str) -> None:
    try:
        with whole_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error}") from error


if __name__ == "__main__":
    run_commands(check, name="python -m monai_ext.check")
