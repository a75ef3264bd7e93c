"""Write the tables of measurements into the documents, from saved values of cases; ``--check`` only compares.

A document asks for one with a line like

    <!-- evidence: anatomask/hippocampus_10 anatomask/hippocampus_5; dice_mean; against stock -->

which names records, ``bundles/BUNDLE/docs/evidence/NAME`` (see ``monai_ext.table --record``), a metric, and the row
that the others are compared with. Several metrics make a table with a column for each:

    <!-- evidence: adunet_anomaly/reduced_maps; auroc_map_adc_testing removed_adc_testing -->

Everything between it and ``<!-- end of evidence -->`` is written.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_ext.table import CaseValues, read_cases

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "ci/pages/*.md", "bundles/*/docs/*.md")
ASKED = re.compile(
    r"<!-- evidence: (?P<records>[\w/ ]+); (?P<metrics>[\w ]+)(?:; against (?P<against>\w+))? -->\n"
    r"(?P<written>.*?)<!-- end of evidence -->",
    re.DOTALL,
)
NOTE = (
    "95 %: bootstrap over test patients and draws of the labelled ones. Core hours: processor time of all trainings of "
    "the row, without their pretraining; of an interrupted one since its last start; - where it was not saved."
)
WIDE_NOTE = "Mean over seeds; in brackets 95 % intervals of a bootstrap over {patients} patients. Seeds: {seeds}."


def wide(records: list[Path], metrics: list[str], against: str | None) -> str:
    """Rows of all records in Markdown, with a column for each metric, or for how much it is above that of a row."""
    shown = [metric.removesuffix("_testing").removesuffix("_training") for metric in metrics]
    lines, patients, seeds = [["row", *shown]], set(), set()
    for folder in records:
        kept, values = json.loads((folder / "cells.json").read_text()), read_cases(folder / "cases.csv")
        of_values = values.metrics
        for row in dict.fromkeys(cell["row"] for cell in kept["cells"]):
            line = [row]
            for metric in metrics:
                if metric in of_values:
                    found = values.summary(row, metric)
                    gap = values.difference(row, against, metric) if against and row != against else None
                    patients.add(found["patients"])
                    line.append(of_cases(found, gap, metric.startswith("gain_")))
                else:
                    line.append(each_seed([c["metrics"].get(metric) for c in kept["cells"] if c["row"] == row]))
            seeds.add(len(values.seeds(row)))
            lines.append(line)
    lines.insert(1, ["---"] * len(lines[0]))
    told = {"patients": patients, "seeds": seeds}
    note = WIDE_NOTE.format(**{key: " or ".join(map(str, sorted(found))) for key, found in told.items()})
    note += f" The difference is that to {against}, patient by patient." if against else ""
    return "\n".join([*("| " + " | ".join(line) + " |" for line in lines), "", note])


def of_cases(found: Mapping[str, Any], gap: Mapping[str, Any] | None, signed: bool) -> str:
    """Mean of a row and its interval, or that of how much it is above another row."""
    mean, *ends = (form(found[key], signed) for key in ("mean", "ci_low", "ci_high"))
    if gap is not None:
        above, *ends = (form(gap[key], True) for key in ("mean", "ci_low", "ci_high"))
        mean = f"{mean}, {above}"
    return f"{mean} ({' to '.join(ends)})"


def form(value: float, signed: bool) -> str:
    """Three decimals, of a difference with its sign."""
    return f"{value:+.3f}" if signed else f"{value:.3f}"


def each_seed(found: Sequence[Mapping[str, float] | None]) -> str:
    """What each training of a row reports of itself, where it does."""
    return ", ".join(f"{one['mean']:.3f}" for one in found if one) or "-"


def table(records: list[Path], metric: str, against: str | None) -> str:
    """Rows of all records in Markdown.

    Args:
        records: folders with ``cells.json`` and ``cases.csv``.
        metric: a column of ``cases.csv``.
        against: a row that the others of its record are compared with, case by case.
    """
    header = ["labelled", "row", metric, "95 %"]
    header += [f"less {against}", "95 %"] if against else []
    lines = [[*header, "patients", "draws", "seeds", "steps", "core hours"]]
    for folder in records:
        kept, values = json.loads((folder / "cells.json").read_text()), read_cases(folder / "cases.csv")
        labelled = kept["about"]["overrides"].get("num_labelled") or "all"
        for row in dict.fromkeys(cell["row"] for cell in kept["cells"]):
            found = values.summary(row, metric)
            line = [str(labelled), row, f"{found['mean']:.3f}", f"{found['ci_low']:.3f} to {found['ci_high']:.3f}"]
            if against:
                line += difference(values, row, against, metric)
            cells = [cell for cell in kept["cells"] if cell["row"] == row]
            steps = sorted({cell["steps"] for cell in cells})
            taken = [cell.get("processor_seconds") for cell in cells]
            hours = "-" if None in taken else f"{sum(taken) / 3600:.1f}"
            line += [str(found[key]) for key in ("patients", "draws")] + [str(len(values.seeds(row)))]
            lines.append([*line, "-".join(f"{n:,}" for n in dict.fromkeys((steps[0], steps[-1]))), hours])
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join([*("| " + " | ".join(line) + " |" for line in lines), "", NOTE])


def difference(values: CaseValues, row: str, against: str, metric: str) -> list[str]:
    """A row less another, and its interval."""
    if row == against:
        return ["", ""]
    gap = values.difference(row, against, metric)
    return [f"{gap['mean']:+.3f}", f"{gap['ci_low']:+.3f} to {gap['ci_high']:+.3f}"]


def write(text: str, root: Path = ROOT) -> str:
    """A document with its tables as they should be."""

    def fill(asked: re.Match[str]) -> str:
        named = [name.split("/") for name in asked["records"].split()]
        records = [root / "bundles" / bundle / "docs/evidence" / name for bundle, name in named]
        metrics = asked["metrics"].split()
        if len(metrics) == 1:
            written = table(records, metrics[0], asked["against"])
        else:
            written = wide(records, metrics, asked["against"])
        first = asked[0].partition("\n")[0]
        return f"{first}\n{written}\n<!-- end of evidence -->"

    return ASKED.sub(fill, text)


def main(check: bool, root: Path = ROOT) -> int:
    """Write the documents, or say which would change; returns the exit code."""
    stale = []
    for path in sorted(path for pattern in DOCUMENTS for path in root.glob(pattern)):
        text = path.read_text(encoding="utf-8")
        if (fresh := write(text, root)) != text:
            stale.append(path.relative_to(root).as_posix())
            if not check:
                path.write_text(fresh, encoding="utf-8")
    if check and stale:
        print(f"error: the tables of {', '.join(stale)} are not those of the saved values. Run ci/evidence_tables.py")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
