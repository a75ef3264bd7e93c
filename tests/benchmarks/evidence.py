"""The tables on pretraining with few labels at the size that a device trains in some minutes a phase.

    python tests/benchmarks/evidence.py [--minutes 120] [--phase_minutes 3] [--draws 10]

A part of ``ci/gpu``. Each set is a table of ``python -m monai_ext.table``: the method, its baseline mask, the same
network from scratch and MONAI's own network, each planned for the same minutes a phase, on labels drawn anew for each
draw and common to all rows, judged on patients never trained on. The sets take turns, a draw of each at a time. What
is finished is kept below ``build/gpu/evidence``; the same command goes on. The scans lie where ``MONAI_EXT_REAL_DATA``
says; without it nothing is trained. The whole chain, ``self_trained``, has the time of three phases, and so has
``from_scratch_longer``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "gpu" / "evidence"
WITHOUT_PRETRAINING = ("from_scratch", "from_scratch_longer", "stock")
LAST = 90.0  # seconds that a training gets to save itself


@dataclass(frozen=True)
class Comparison:
    """A table on one set.

    Args:
        bundle: name of the bundle.
        what: the set in words, with what is labelled.
        data: folder below ``MONAI_EXT_REAL_DATA``; None for the bundle's phantom.
        datalist: arguments of ``monai_ext.datalist``.
        rows: the method first, then what it is compared with.
        against: the row from scratch.
        metric: whose mean and difference are told.
        options: of ``monai_ext.table``.
    """

    bundle: str
    what: str
    data: str | None
    datalist: tuple[str, ...]
    rows: tuple[str, ...]
    options: tuple[str, ...]
    metric: str = "dice"
    against: str = "from_scratch"

    @property
    def folder(self) -> Path:
        """Where its runs and its table lie."""
        return FOLDER / (self.data or f"phantom_{self.bundle}")


COMPARISONS = [
    Comparison(
        "amlp", "FLAIR of gliomas, 5 of 49 patients labelled, 13 judged", "lgg_2d", ("msd",),
        ("amlp", "base_10", "self_trained", *WITHOUT_PRETRAINING),
        ("--num_labelled", "5", "--section", "validation", "--folds", "0", "--modalities", "['flair']",
         "--stacked", "['t1','flair','t1ce']"),
    ),
    Comparison(
        "anatomask", "MR of the hippocampus, 5 of 150 volumes labelled, 40 judged", "hippocampus_mr",
        ("msd", "--num_testing", "40", "--num_folds", "31"),
        ("anatomask", "spark", "self_trained", *WITHOUT_PRETRAINING),
        ("--num_labelled", "5", "--section", "testing"),
    ),
    Comparison(
        "autopet_bixlstm", "PET/CT of sarcomas, 5 of 28 patients labelled, 10 judged", "sts_petct",
        ("autopet", "--num_folds", "4", "--skip_incomplete", "true"),
        ("bot_ssl", "no_xlstm", "self_trained", *WITHOUT_PRETRAINING),
        ("--num_labelled", "5", "--section", "validation", "--folds", "0"),
    ),
]  # fmt: skip
SMALL = Comparison(
    "amlp", "the brain phantom, in miniature", None, (), ("amlp", "from_scratch"),
    ("--config", "demo", "--section", "validation", "--max_epochs", "1", "--pretrain#max_epochs", "1"),
)  # fmt: skip


def command(one: Comparison, data: Path | None, draws: int, minutes: float) -> list[str]:
    """The command of a table; ``data`` is the folder of all sets, None for the phantom."""
    base = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "monai_ext.table",
        "--bundle",
        one.bundle,
        "--rows",
        ",".join(one.rows),
    ]
    base += ["--against", one.against, "--out", str(one.folder), "--previews", "0", *one.options]
    if data is None or one.data is None:
        return base
    base += ["--dataset_dir", str(data / one.data), "--datalist", str(one.folder.with_suffix(".json"))]
    return [*base, "--draws", ",".join(map(str, range(draws))), "--minutes", f"{minutes:g}"]


def run_until(arguments: Sequence[str], seconds: float) -> int | None:
    """Run a command in a session of its own and return its exit code; None where it was asked to end in time."""
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=sys.stderr, start_new_session=True)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        for sign, patience in ((signal.SIGTERM, LAST), (signal.SIGKILL, 10.0)):
            try:
                os.killpg(process.pid, sign)
                deadline = time.monotonic() + patience
                while time.monotonic() < deadline:
                    os.killpg(process.pid, 0)
                    process.poll()
                    time.sleep(0.2)
            except ProcessLookupError:
                break


def rows(one: Comparison) -> Iterator[dict[str, Any]]:
    """The rows of a table as far as it is filled."""
    file = one.folder / "table.json"
    for entry in json.loads(file.read_text(encoding="utf-8"))["table"] if file.is_file() else ():
        if entry["metric"] == one.metric:
            kept = ("mean", "ci_low", "ci_high", "n", "draws", "difference")
            found = {key: entry[key] for key in kept if entry.get(key) is not None}
            yield {"what": f"{one.metric}, {one.what}", "bundle": one.bundle, "variant": entry["row"], **found}


def compare(
    comparisons: Sequence[Comparison], data: Path | None, minutes: float, phase_minutes: float, draws: int
) -> Iterator[dict[str, Any]]:
    """Fill the tables until the time is over, and yield what they hold.

    Raises:
        SystemExit: a command failed (its code), or some cells are not done (7): the same call goes on.
    """
    end, problem = time.monotonic() + 60 * minutes - LAST, 0
    if data is not None:
        for one in comparisons:
            listed = one.folder.with_suffix(".json")
            if not listed.is_file():
                listed.parent.mkdir(parents=True, exist_ok=True)
                made = [sys.executable, "-m", "monai_ext.datalist", *one.datalist, "--root", str(data / str(one.data))]
                subprocess.run([*made, "--out", str(listed)], cwd=ROOT, check=True, stdout=sys.stderr)
    for draw in range(draws):
        for one in comparisons:
            left = end - time.monotonic()
            code = run_until(command(one, data, draw + 1, phase_minutes), left) if left > 0 and not problem else None
            problem = problem or (7 if code is None else code)
    for one in comparisons:
        yield from rows(one)
    if problem:
        sys.exit(problem)


def real_data() -> Path | None:
    """The folder of the real sets; None if there is none."""
    named = os.environ.get("MONAI_EXT_REAL_DATA")
    return Path(named).resolve() if named and Path(named).is_dir() else None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120.0, help="for all tables together")
    parser.add_argument("--phase_minutes", type=float, default=3.0, help="that each row is planned for")
    parser.add_argument("--draws", type=int, default=10)
    args = parser.parse_args()
    if real_data() is None:
        sys.exit("MONAI_EXT_REAL_DATA names no folder: there is nothing to compare on")
    for row in compare(COMPARISONS, real_data(), args.minutes, args.phase_minutes, args.draws):
        print(json.dumps(row), flush=True)
