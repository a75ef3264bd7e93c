"""What a plan promises beside what the planned phases took: minutes and peak memory.

    python tests/benchmarks/plan_promises.py [--minutes 3] [--bundles amlp,anatomask]
    python tests/benchmarks/plan_promises.py --bundles amlp --datalist lgg.json --dataset_dir D [-- --num_labelled 5]

Plans each bundle on its phantom, or on a data set, runs its whole chain and compares ``_plan_`` with each phase's
``report.json``. A factor is that of the wall-clock minutes, so run it on a quiet machine; the processor's minutes stand
beside them. What stands after ``--`` goes to the plan and to the training.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

ROOT = Path(__file__).parents[2]
BUNDLES = sorted(path.parents[1].name for path in ROOT.glob("bundles/*/configs/train.json"))


def phantom_of(bundle: str) -> str:
    """Folder of the phantom that a bundle trains on where no data set is given; makes it."""
    parser = ConfigParser()
    parser.read_config(str(ROOT / "bundles" / bundle / "configs/train.json"))
    return str(parser.get_parsed_content("dataset_dir"))


def run_chain(bundle: str, minutes: float, data: Sequence[str], options: Sequence[str], folder: Path) -> dict[str, Any]:
    """Plan and train in ``folder``; the plan's promise."""
    plan, base = folder / "plan.json", [sys.executable, "-W", "ignore", "-m"]
    command = [*base, "monai_ext.plan", "--bundle", bundle, "--minutes", f"{minutes:g}", "--out", str(plan)]
    subprocess.run([*command, *data, *options], cwd=ROOT, check=True, stdout=sys.stderr)
    files = repr([str(ROOT / "bundles" / bundle / "configs/train.json"), str(plan)])
    command = [*base, "monai.bundle", "run", "training", "--config_file", files, "--run_dir", str(folder)]
    subprocess.run([*command, *options], cwd=ROOT, check=True, stdout=sys.stderr)
    promised: dict[str, Any] = json.loads(plan.read_text(encoding="utf-8"))["_plan_"]
    return promised


def phases_of(folder: Path) -> Iterator[tuple[str, float, float, float]]:
    """Name, minutes, the processor's minutes and gibibytes of each phase that trained below ``folder``."""
    for file in sorted(folder.rglob("report.json"), key=lambda file: file.stat().st_mtime):
        report = json.loads(file.read_text(encoding="utf-8"))
        if report.get("iterations"):
            name = file.parent.relative_to(folder / "output").as_posix()
            yield name, report["seconds"] / 60, report["processor_seconds"] / 60, report["gibibytes"]


def main() -> None:
    """Print a row for each phase."""
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0, help="of a phase")
    parser.add_argument("--bundles", default=",".join(BUNDLES))
    parser.add_argument("--datalist", help="of a data set; without it each bundle's phantom")
    parser.add_argument("--dataset_dir")
    given = parser.parse_args(words[:cut])
    print("| bundle | phase | minutes | processor's | promised | | GiB | promised | |")
    print("|---|---|---|---|---|---|---|---|---|")
    for bundle in given.bundles.split(","):
        place = given.dataset_dir or phantom_of(bundle)
        data = ["--datalist", given.datalist or f"{place}/datalist.json", "--dataset_dir", str(place)]
        with tempfile.TemporaryDirectory() as folder:
            said = run_chain(bundle, given.minutes, data, words[cut + 1 :], Path(folder))
            for phase, minutes, processor, memory in phases_of(Path(folder)):
                times, shares = minutes / said["minutes"], memory / said["gibibytes"]
                cells = [f"{minutes:.1f}", f"{processor:.1f}", f"{said['minutes']:.1f}", f"{times:.2f}x"]
                cells += [f"{memory:.2f}", f"{said['gibibytes']:.2f}", f"{shares:.2f}x"]
                print(f"| {bundle} | {phase} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
