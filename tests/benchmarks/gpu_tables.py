"""Write the GPU tables of the bundles' READMEs from saved results: ``ci/gpu --write [RESULTS.json]``.

The rows of each bundle go into ``bundles/<name>/docs/gpu.json`` with the machine they were measured on, and from there
into its README, between two markers at the end of the section Performance. Without an argument the tables are written
anew from the saved rows. Results of a miniature, or of a CPU, are refused.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- gpu: written by ci/gpu --write -->", "<!-- /gpu -->"
OWNERS = {  # of the parts whose rows name no bundle
    "mae": "prostate_mae", "anatomask": "anatomask", "gan": "adunet_anomaly", "amlp": "amlp",
    "mlstm": "autopet_bixlstm", "inference": "autopet_bixlstm", "loader": "autopet_bixlstm",
}  # fmt: skip


def rows_by_bundle(results: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The rows of all finished parts by the bundle that they are about.

    Raises:
        ValueError: the results are those of a miniature, or of a CPU.
    """
    machine = results["machine"]
    if machine["miniature"] or machine["cuda"] is None or machine["device"].startswith("CPU"):
        raise ValueError(f"figures of {machine['device']}{', in miniature,' * machine['miniature']} are no GPU's")
    found: dict[str, list[dict[str, Any]]] = {}
    for part, content in results["parts"].items():
        for row in content["rows"] if content["done"] else ():
            owner = row.get("bundle") or OWNERS.get(part)
            if owner:
                found.setdefault(owner, []).append({"part": part, **row})
    return found


def table(saved: Mapping[str, Any]) -> str:
    """The table of a bundle's saved rows, with what they were measured on and how to repeat it."""
    machine = saved["machine"]
    rows, means = ([row for row in saved["rows"] if ("mean" in row) == told] for told in (False, True))
    lines = [
        BEGIN, "", "### On a GPU", "",
        f"{machine['device']}, torch {machine['torch']}, CUDA {machine['cuda']}, Python {machine['python']}, "
        f"commit {machine['commit']}. Medians; memory is the peak of CUDA's allocator. "
        f"`ci/gpu --parts {' '.join(dict.fromkeys(row['part'] for row in saved['rows']))}`", "",
    ]  # fmt: skip
    if rows:
        lines += ["| what | variant | ms | times faster | GiB | |", "|---|---|---|---|---|---|"]
    for row in rows:
        first = next(other for other in rows if (other["part"], other["what"]) == (row["part"], row["what"]))
        seconds, reference = row.get("seconds"), first.get("seconds")
        gain = f"{reference / seconds:.2f}" if seconds and reference else ""
        milliseconds = f"{1000 * seconds:.1f}" if seconds else row.get("error", "")
        memory = f"{row['gibibytes']:.1f}" if "gibibytes" in row else ""
        more = f"{row['forwards']} windows" if "forwards" in row else ""
        if "waiting" in row:
            more = f"{row['crops_per_second']:.1f} crops/s, {100 * row['waiting']:.0f} % of the time waits for data"
        lines.append(f"| {row['what']} | {row['variant']} | {milliseconds} | {gain} | {memory} | {more} |")
    if means:
        lines += [""] * bool(rows) + ["| measure | row | mean (95 %) | less from scratch (95 %) | patients | draws |"]
        lines += ["|---|---|---|---|---|---|", *map(mean_row, means)]
    return "\n".join([*lines, "", END])


def mean_row(row: Mapping[str, Any]) -> str:
    """A row of the table of means; intervals are over patients and draws."""

    def told(found: Mapping[str, Any] | None, sign: str) -> str:
        if not found:
            return ""
        low, high = found.get("ci_low"), found.get("ci_high")
        return f"{found['mean']:{sign}.3f}" + (
            "" if low is None or high is None else f" ({low:{sign}.3f} to {high:{sign}.3f})"
        )

    parts = [row["what"], row["variant"], told(row, ""), told(row.get("difference"), "+")]
    return f"| {' | '.join([*parts, str(row.get('n', '')), str(row.get('draws', ''))])} |"


def with_table(readme: str, text: str) -> str:
    """A README with its GPU table replaced, or put at the end of the section Performance.

    Raises:
        ValueError: the README has no such section.
    """
    if BEGIN in readme:
        return readme[: readme.index(BEGIN)] + text + readme[readme.index(END) + len(END) :]
    if "\n## Performance" not in readme:
        raise ValueError("the README has no section Performance")
    after = readme.find("\n## ", readme.index("\n## Performance") + 4)
    after = len(readme) if after < 0 else after
    return f"{readme[:after].rstrip()}\n\n{text}\n{readme[after:]}"


def write(bundles: Path, results: Mapping[str, Any] | None) -> Sequence[str]:
    """Save the rows of new results, if there are any, and write the READMEs; returns the bundles with a table."""
    for bundle, rows in rows_by_bundle(results).items() if results else ():
        saved = {"machine": results["machine"], "rows": rows}
        (bundles / bundle / "docs" / "gpu.json").write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")
    found = []
    for path in sorted(bundles.glob("*/docs/gpu.json")):
        readme = path.with_name("README.md")
        text = with_table(readme.read_text(encoding="utf-8"), table(json.loads(path.read_text(encoding="utf-8"))))
        readme.write_text(text, encoding="utf-8")
        found.append(path.parents[1].name)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?")
    args = parser.parse_args()
    try:
        names = write(ROOT / "bundles", json.loads(args.results.read_text()) if args.results else None)
    except ValueError as error:
        sys.exit(str(error))
    print(f"tables of {', '.join(names)}" if names else "no bundle has figures of a GPU yet")
