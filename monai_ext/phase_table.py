"""Run one phase of a bundle over seeds and print what its reports measured: ``python -m monai_ext.phase_table``.

This suits phases that train and evaluate something themselves, such as the anomaly maps of adU-Net, before a segmenter
exists that :mod:`monai_ext.table` could evaluate. Exit codes: 0 the table is complete; 2 the command is wrong; else
that of the run that failed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_ext.bundle import find_root
from monai_ext.command_line import run_commands, split_names
from monai_ext.data.io.json_file import write_json
from monai_ext.data.io.whole_file import whole_file
from monai_ext.errors import ConfigError
from monai_ext.table import RunError, format_table, summarize_row
from monai_ext.versions import versions

__all__ = ["phase_table"]

SET_FOR_EACH_RUN = ("bundle_root", "output_dir", "generators", "training_dir", "seed")


def phase_table(
    bundle: str,
    phase: str,
    rows: str | Sequence[str],
    seeds: str | Sequence[int] = "0",
    out: str | None = None,
    metrics: str | Sequence[str] = (),
    **overrides: Any,
) -> str:
    """Run a phase with several seeds for each row, print the table, write table.json and table.md.

    Finished runs, which have a report, are not repeated. An interval is Student's t over seeds on the same cases; for
    one seed, a bootstrap over its cases.

    Args:
        bundle: name of the bundle, or its directory.
        phase: name of the phase's config: maps.
        rows: overlays in configs/variants/, or files, separated by commas; the bundle's own name stands for the phase
            without overlay.
        seeds: seeds, separated by commas.
        out: folder of all results; BUNDLE/output/<phase>_table by default.
        metrics: metrics to print, separated by commas; all by default.
        **overrides: settings of the phase for every row.
    """
    given = Path(str(bundle))
    root = given.resolve() if (given / "configs" / "metadata.json").is_file() else Path(find_root(str(bundle)))
    base = root / "configs" / f"{phase}.json"
    if not base.is_file():
        raise ConfigError(f"{root.name} has no phase {phase!r}: there is no {base}")
    config = ConfigParser.load_config_file(str(base))
    if unknown := [key for key in overrides if key.split("#")[0] not in config or key in SET_FOR_EACH_RUN]:
        raise ConfigError(f"{', '.join(unknown)} cannot be set: {base.name} has no such key, or it is set for each run")
    try:
        numbers = [int(seed) for seed in split_names(seeds)]
    except ValueError:
        raise ConfigError(f"--seeds must be whole numbers separated by commas, got {seeds!r}") from None
    run_id = str(config["run"]).removeprefix("@")
    folder = Path(out).resolve() if out else root / "output" / f"{phase}_table"
    entries = []
    for name in split_names(rows):
        overlay = Path(name) if name.endswith(".json") else root / "configs" / "variants" / f"{name}.json"
        if name != root.name and not overlay.is_file():
            raise ConfigError(f"there is no row {name!r}: {overlay}")
        files = [str(base)] if name == root.name else [str(base), str(overlay)]
        reports = []
        for seed in numbers:
            place = folder / Path(name).stem / f"seed{seed}"
            if not (place / phase / "report.json").is_file():
                ours = {"bundle_root": root, "output_dir": place / phase, "seed": seed}
                ours |= {key: place / key for key in ("generators", "training_dir") if key in config}
                _run(run_id, files, {**overrides, **ours}, f"{name}, seed {seed}")
            reports.append(json.loads((place / phase / "report.json").read_text(encoding="utf-8"))["metrics"])
        entries += summarize_row(Path(name).stem, reports, {})
    wanted = split_names(metrics)
    entries = [entry for entry in entries if not wanted or entry["metric"] in wanted]
    if not entries:
        raise ConfigError("there is nothing to print: no row, or no such metric")
    text = format_table(entries)
    about = {"bundle": root.name, "phase": phase, "seeds": numbers, "overrides": overrides, "versions": versions()}
    write_json({**about, "table": entries}, folder / "table.json")
    with whole_file(folder / "table.md") as temporary:
        temporary.write_text(f"# {root.name}, {phase}\n\n{text}", encoding="utf-8")
    return f"\n{text}\n{folder / 'table.md'}"


def _run(run_id: str, files: Sequence[str], options: dict[str, Any], what: str) -> None:
    print(f"\n== {what}: {run_id}", flush=True)
    command = [sys.executable, "-m", "monai.bundle", "run", run_id, f"--config_file={files!r}"]
    code = subprocess.run([*command, *(f"--{key}={value}" for key, value in options.items())]).returncode
    if code:
        raise RunError(f"{run_id} of {what} ended with code {code}. The same command goes on from here", abs(code))


if __name__ == "__main__":
    run_commands(phase_table, name="python -m monai_ext.phase_table")
