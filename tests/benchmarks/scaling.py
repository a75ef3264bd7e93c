"""Write SCALING.md: memory and time of the papers' settings on 1, 8 and 64 GPUs, computed and not measured.

    python tests/benchmarks/scaling.py [--check]

Each phase's network is built on torch's meta device, which knows shapes and holds no values. One forward pass counts
the operations and the bytes that autograd keeps; a backward pass takes twice the operations of a forward pass.
"""

from __future__ import annotations

import argparse
import math
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from phase_steps import PHASES, Phase, parse
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

DOCUMENT = Path(__file__).parents[2] / "SCALING.md"
PEAK, SHARE = 989e12, 0.3  # bf16 operations per second of an H100, and the share that convolutions are taken to reach
LINKS = {1: math.inf, 8: 300e9, 64: 40e9}  # bytes per second of an all-reduce: none, NVLink, network between machines
CROPS = 17.6  # per second and core: tests/benchmarks/pipeline.py, autoPET's crops with their margin
CROP_BYTES = 160 * 240 * 200 * (2 * 2 + 1)  # two channels in float16 and the label, of those crops
CORES = 12  # that load data, per GPU
STATE = {"SGD": 1, "Adam": 2, "AdamW": 2}  # numbers that an optimizer keeps per weight
HEAD = f"""# Scaling

Written by `python tests/benchmarks/scaling.py`. **Computed, not measured**: operations and kept bytes are counted on
meta tensors at the sizes of the configs; the time is that of the operations at {100 * SHARE:.0f} % of an H100's
{PEAK / 1e12:.0f} bf16 TFLOP/s, plus the all-reduce of the gradients in fp32 at {LINKS[8] / 1e9:.0f} GB/s between 8 GPUs
and {LINKS[64] / 1e9:.0f} GB/s between 64. `ci/gpu` measures what is computed here. Norms and other memory-bound work
are in the {100 * SHARE:.0f} %; a small network reaches less.

- With N GPUs each process takes a config's `batch_size` and an epoch has 1/N of the steps: N times the batch. Hours are
  those of the config's epochs; a phase whose epoch is one pass over the data has no number of steps of its own.
- Activations are what autograd keeps of one step, in bf16. State is weights, gradients and the optimizer's in fp32; it
  is the same on each GPU, whatever their number.
- Data are the float16 and uint8 values that a step reads. The loader gives {CROPS} of autoPET's crops per second and
  core, {CORES} cores are taken for each GPU; other crops in proportion to their bytes.

"""


def count(phase: Phase) -> dict[str, Any]:
    """Counts of one step of a phase, from its config."""
    parser = parse(phase, "meta", {"amp": False})
    parser["shape_of_item"] = phase.image
    batch = parser.get_parsed_content("batch_size")
    shape = list(parser.get_parsed_content("shape_of_item"))
    read = math.prod(shape) * 2 + math.prod(shape[1:])
    if phase.config == "train" and "crop_size" in parser:
        shape = [shape[0], *parser.get_parsed_content("crop_size")]
    network: nn.Module = parser.get_parsed_content("network").train()
    image = torch.empty(batch, *shape, device="meta")
    inputs = [image]
    if phase.config == "pretrain":
        size = parser.get_parsed_content("patch_size") if "patch_size" in parser else 8
        size = [size] * (len(shape) - 1) if isinstance(size, int) else size
        patches = math.prod(n // p for n, p in zip(shape[1:], size))
        inputs.append(torch.empty(batch, patches, dtype=torch.bool, device="meta"))
    kept: dict[int, int] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        if not isinstance(x, nn.Parameter):
            kept[id(x.untyped_storage())] = x.untyped_storage().nbytes() if x.is_floating_point() else x.numel()
            held.append(x)
        return x

    held: list[torch.Tensor] = []
    # Autocast knows no meta device.
    asked = patch("torch.is_autocast_enabled", return_value=False)
    entered = patch("torch.autocast", lambda *names, **options: nullcontext())
    with asked, entered, FlopCounterMode(display=False) as counter, saved_tensors_hooks(keep, lambda x: x):
        network(*inputs)
    # AnatoMask's teacher predicts once more, without a backward pass.
    passes = 4 if phase.bundle == "anatomask" and phase.config == "pretrain" else 3
    weights = sum(parameter.numel() for parameter in network.parameters())
    steps = None
    if "iterations" in parser and parser.get_parsed_content("iterations"):
        steps = parser.get_parsed_content("max_epochs") * parser.get_parsed_content("iterations")
    elif "num_crops" in parser and parser.get_parsed_content("num_crops"):
        steps = parser.get_parsed_content("max_epochs") * parser.get_parsed_content("num_crops") // batch
    optimizer = str(parser["optimizer"]["_target_"]).rsplit(".", 1)[-1]
    return {
        "name": phase.name, "batch": batch, "shape": shape, "weights": weights, "steps": steps, "read": read * batch,
        "operations": passes * counter.get_total_flops(), "kept": sum(kept.values()) / 2,
        "state": 4 * weights * (2 + STATE[optimizer]),
    }  # fmt: skip


def row(found: dict[str, Any]) -> str:
    """The table's row of a phase."""
    seconds, hours = found["operations"] / (PEAK * SHARE), []
    loading = found["read"] / (CROPS * CROP_BYTES * CORES)
    for gpus, link in LINKS.items():
        each = max(seconds + 4 * found["weights"] / link, loading)
        hours.append("" if found["steps"] is None else f"{found['steps'] / gpus * each / 3600:.2f}")
    reduce = 4 * found["weights"] / LINKS[64]
    bounds = {"arithmetic": seconds, "loading": loading, "gradients between machines (64)": reduce}
    bound = max(bounds, key=lambda name: bounds[name])
    size = "x".join(map(str, found["shape"]))
    steps = "" if found["steps"] is None else f"{found['steps']:,}"
    parts = [
        found["name"], f"{found['batch']} of {size}", f"{found['weights'] / 1e6:.1f}",
        f"{found['operations'] / 1e12:.2f}", f"{found['kept'] / 2**30:.1f}", f"{found['state'] / 2**30:.2f}",
        f"{1000 * seconds:.1f}", f"{1000 * loading:.1f}", steps, *hours, f"{found['read'] / 1e6:.1f}", bound,
    ]  # fmt: skip
    return f"| {' | '.join(parts)} |"


def document() -> str:
    """The whole text."""
    columns = (
        "phase", "step of one GPU", "weights, M", "TFLOP", "activations, GiB", "state, GiB", "arithmetic, ms",
        "loading, ms", "steps, 1 GPU", "hours, 1", "8", "64", "read, MB", "longest",
    )  # fmt: skip
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    # The Fixed-Point GAN has two networks and a second derivative: its step is measured, not counted.
    lines += [row(count(phase)) for phase in PHASES if not phase.domain]
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail if the document is not up to date")
    args = parser.parse_args()
    text = document()
    if args.check:
        sys.exit(0 if DOCUMENT.is_file() and DOCUMENT.read_text(encoding="utf-8") == text else "SCALING.md is old")
    DOCUMENT.write_text(text, encoding="utf-8")
