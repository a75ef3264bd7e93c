"""Put the weights of a row of a table into its bundle, with the row's settings and a card with the table's figures.

    python ci/ship_weights.py TABLE ROW NAME

TABLE is the folder that monai_ext.table filled, and NAME that of the weights: bundles/<bundle>/weights/NAME/ takes
model.safetensors with its record, overlay.json and model_card.md, which begins with the about.md that lies there.
Weights are those of the first seed, in half precision; the card's figures are of the very file, on the section that the
table was judged on.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from safetensors.torch import save_file
from torch import Tensor

from monai_ext.bundle import find_overlay
from monai_ext.bundle_process import run_bundle_process
from monai_ext.data.io.image_files import content_hash
from monai_ext.data.io.json_file import write_json
from monai_ext.data.io.record import read_record, write_record
from monai_ext.networks import read_checkpoint

ROOT = Path(__file__).parents[1]
LARGEST = 12 * 2**20  # bytes of weights that the repository keeps
PLACES = ("run_dir", "pretrained", "generators")  # of a row's own folder


def overlay_of(table: Path, row: str, bundle: Path) -> dict[str, Any]:
    """The settings of a row: those of its plan, then its own."""
    files = [*sorted((table / row).glob("plan*.json"))[:1], find_overlay(bundle / "configs/variants", row, "row")]
    found: dict[str, Any] = {}
    for file in files:
        found |= ConfigParser.load_config_file(str(file))
    return {key: value for key, value in found.items() if key[:1] != "_" and key not in PLACES}


def figures(table: dict[str, Any], row: str, metrics: dict[str, Any]) -> str:
    """The file's measures, and the row's differences to the row it is compared with."""
    against = table["against"]
    gaps = {entry["metric"]: entry.get("difference") for entry in table["table"] if entry["row"] == row}
    lines = ["| measure | mean | 95 % CI | patients |" + (f" - {against} | 95 % CI |" if against else "")]
    lines.append("|---" * (6 if against else 4) + "|")
    for name, entry in metrics.items():
        if entry["mean"] is None or entry["ci_low"] is None:
            continue
        cells = [name, f"{entry['mean']:.3f}", f"{entry['ci_low']:.3f} to {entry['ci_high']:.3f}", entry["n"]]
        if against:
            gap = gaps.get(name)
            cells += [f"{gap['mean']:+.3f}", f"{gap['ci_low']:+.3f} to {gap['ci_high']:+.3f}"] if gap else ["", ""]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def judge(bundle: Path, place: Path, table: dict[str, Any], output: Path) -> dict[str, Any]:
    """Metrics of the shipped file on the section that the table was judged on."""
    configs = [str(bundle / "configs/evaluate.json"), str(place / "overlay.json")]
    known = ConfigParser.load_config_file(configs[0])
    options = {key: value for key, value in table["overrides"].items() if key in known}
    options |= {"section": table["section"], "model": place / "model.safetensors", "output_dir": output}
    code = run_bundle_process(
        ["run", "evaluating", f"--config_file={configs!r}", *(f"--{key}={value}" for key, value in options.items())]
    )
    if code:
        raise SystemExit(code)
    return json.loads((output / "report.json").read_text())["metrics"]  # type: ignore[no-any-return]


def _half(value: Tensor) -> Tensor:
    return value.half() if value.is_floating_point() else value


def ship(folder: Path, row: str, name: str) -> Path:
    """Write the folder of the weights; returns it."""
    table = json.loads((folder / "table.json").read_text())
    bundle = ROOT / "bundles" / table["bundle"]
    place = bundle / "weights" / name
    about = place / "about.md"
    if not about.is_file():
        raise SystemExit(
            f"error: {about} is missing: write there what the weights are for, learned from, and their licence"
        )
    run = next(iter(sorted((folder / row).glob("*seed*/models/model.pt"))), None)
    if run is None:
        raise SystemExit(f"error: {folder / row} holds no trained model")
    state = read_checkpoint(run)
    weights = place / "model.safetensors"
    halves = {key: _half(value).contiguous() for key, value in state.get("model", state).items()}
    save_file(halves, weights)
    if weights.stat().st_size > LARGEST:
        raise SystemExit(
            f"error: {weights} has {weights.stat().st_size / 2**20:.1f} MiB; the repository keeps at most 12"
        )
    write_json(overlay_of(folder, row, bundle), place / "overlay.json")
    judged = folder / "shipped" / name
    known = read_record(run) or {}
    record = {key: known[key] for key in ("version", "settings", "seen", "patients") if key in known}
    write_record(weights, record)
    metrics = judge(bundle, place, table, judged)
    write_record(weights, record, {name: round(m["mean"], 4) for name, m in metrics.items() if m["mean"] is not None})
    with open(judged / "cases.csv", newline="", encoding="utf-8") as lines:
        patients = sorted({line["patient"] for line in csv.DictReader(lines)})
    report = json.loads((run.parents[1] / "output/train/report.json").read_text())
    learned = report["data"]["train"]
    rows = row if table["against"] is None else f"{row},{table['against']}"
    minutes = "" if table["minutes"] is None else f" --minutes {table['minutes']}"
    lines = [
        about.read_text(encoding="utf-8").rstrip(),
        "## Figures",
        f"Of this file, in half precision, on patients that the training never saw. It learned from {learned['cases']} "
        f"cases in {report['iterations']} steps, by `python -m monai_ext.table --bundle {table['bundle']} --rows "
        f"{rows}{minutes} --section {table['section']}`. Intervals: bootstrap over patients, one training.",
        figures(table, row, metrics),
        f"Never seen: {', '.join(f'`{name}`' for name in patients)}.",
        f"sha256: {content_hash(weights)}",
    ]
    (place / "model_card.md").write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    return place


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    print(ship(Path(sys.argv[1]), *sys.argv[2:]))
