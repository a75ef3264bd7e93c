"""Write SCALING.md: memory and time of the papers' settings on 1, 8 and 64 GPUs, computed and not measured.

    python tests/benchmarks/scaling.py [--check]

Each phase's network is built on torch's meta device, which knows shapes and holds no values. One forward pass counts
the operations and the bytes that autograd keeps; a backward pass takes twice the operations of a forward pass. The
Fixed-Point GAN, whose loss holds a gradient, is counted in real steps of one image and of two.
Step times that ``ci/gpu`` measured are read from ``bundles/*/docs/gpu.json``.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from phase_steps import BUNDLES, PHASES, Phase, build, parse
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

DOCUMENT = Path(__file__).parents[2] / "SCALING.md"
PEAK, SHARE = 989e12, 0.3  # bf16 operations per second of an H100, and the share that convolutions are taken to reach
LINKS = {1: math.inf, 8: 300e9, 64: 40e9}  # bytes per second of an all-reduce: none, NVLink, network between machines
CROPS = 17.6  # per second and core: tests/benchmarks/pipeline.py, autoPET's crops with their margin
CROP_BYTES = 160 * 240 * 200 * (2 * 2 + 1)  # two channels in float16 and the label, of those crops
CORES = 12  # that load data, per GPU
#: Items of the papers' data sets, for phases whose epoch is one pass over them: at most all slices of 1,500 volumes
#: (PI-CAI) and of 210 (BraTS 2018; labels of 5 % to fine-tune), and the volumes of TotalSegmentator.
ITEMS = {
    "prostate_mae pretrain": 1500 * 64, "prostate_mae train": 1500 * 64, "amlp pretrain": 210 * 155,
    "amlp train": 10 * 155, "anatomask pretrain": 1204,
}  # fmt: skip
STATE = {"SGD": 1, "Adam": 2, "AdamW": 2}  # numbers that an optimizer keeps per weight
HEAD = f"""# Scaling

Written by `python tests/benchmarks/scaling.py`. **Computed, not measured**: operations and kept bytes are counted on
meta tensors at the sizes of the configs; the time is that of the operations at {100 * SHARE:.0f} % of an H100's
{PEAK / 1e12:.0f} bf16 TFLOP/s, plus the all-reduce of the gradients in fp32 at {LINKS[8] / 1e9:.0f} GB/s between 8 GPUs
and {LINKS[64] / 1e9:.0f} GB/s between 64. `ci/gpu` measures what is computed here. Norms and other memory-bound work
are in the {100 * SHARE:.0f} %; a small network reaches less.

- With N GPUs each process takes a config's `batch_size` and an epoch has 1/N of the steps: N times the batch. Hours are
  those of the config's epochs. Where an epoch is one pass over the data, it has the slices or volumes of the paper's
  data set: 96,000 of PI-CAI (prostate MAE; fine-tuning takes fewer), 32,550 of BraTS 2018 and 1,550 of 5 % of its
  patients (AMLP), 1,204 of TotalSegmentator (AnatoMask).
- "Bound by" is what takes longest in a step on 1, 8 and 64 GPUs. "Measured" is a step of `ci/gpu --parts steps`;
  where it is empty, none has been measured.
- Activations are what autograd keeps of one step, in bf16. State is weights, gradients and the optimizer's in fp32; it
  is the same on each GPU, whatever their number. The Fixed-Point GAN's is the larger of its two updates.
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
    optimizer = str(parser["optimizer"]["_target_"]).rsplit(".", 1)[-1]
    return {
        "name": phase.name, "batch": batch, "shape": shape, "weights": weights, "read": read * batch,
        "epochs": parser.get_parsed_content("max_epochs"), "epoch": epoch_steps(phase, parser, batch),
        "operations": passes * counter.get_total_flops(), "kept": sum(kept.values()) / 2,
        "state": 4 * weights * (2 + STATE[optimizer]),
    }  # fmt: skip


def epoch_steps(phase: Phase, parser: Any, batch: int) -> int | None:
    """Steps of an epoch on one GPU; None where only the data would say it."""
    for key, items in (("iterations", 1), ("num_crops", batch)):
        if key in parser and parser.get_parsed_content(key):
            return parser.get_parsed_content(key) // items
    return -(-ITEMS[phase.name] // batch) if phase.name in ITEMS else None


class Operations(TorchDispatchMode):
    """Counts what FlopCounterMode counts, and knows no modules: their hooks do not survive a gradient in a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        count = flop_registry.get(func.overloadpacket)
        self.total += 0 if count is None else count(*args, **(kwargs or {}), out_val=found)
        return found


def adversarial_step(phase: Phase, batch: int, settings: Mapping[str, Any]) -> tuple[float, float, int]:
    """Operations of the mean step of a few images, bytes kept in the larger of its updates, in fp32, and weights."""
    trainer, item, _ = build(phase, "cpu", 1, {**settings, "batch_size": batch, "amp": False})
    trainer.state.epoch = trainer.state.epoch_length = 1
    operations, kept = [], []
    for iteration in (1, trainer.d_train_steps):  # without the generator's update, and with it
        trainer.state.iteration = iteration
        held: dict[int, torch.Tensor] = {}

        def keep(x: torch.Tensor, held: dict[int, torch.Tensor] = held) -> torch.Tensor:
            if not isinstance(x, nn.Parameter):
                held[x.untyped_storage().data_ptr()] = x
            return x

        with Operations() as counter, saved_tensors_hooks(keep, lambda x: x):
            trainer._iteration(trainer, dict(item))
        operations.append(counter.total)
        kept.append(sum(x.untyped_storage().nbytes() for x in held.values()))
    mean = operations[0] + (operations[1] - operations[0]) / trainer.d_train_steps
    weights = sum(p.numel() for n in (trainer.g_network, trainer.d_network) for p in n.parameters())
    return mean, max(kept[0], kept[1] - kept[0]), weights


def count_adversarial(phase: Phase) -> dict[str, Any]:
    """Counts of the Fixed-Point GAN's mean step, from steps of one image and of two: both are linear in these."""
    parser = parse(phase, "meta")
    batch, size = (parser.get_parsed_content(key) for key in ("batch_size", "img_size"))
    one, two = (adversarial_step(phase, images, {}) for images in (1, 2))
    operations, kept = (a + (batch - 1) * (b - a) for a, b in zip(one[:2], two[:2]))
    return {
        "name": phase.name, "batch": batch, "shape": [1, size, size], "weights": one[2], "read": 3 * batch * size**2,
        "epochs": parser.get_parsed_content("max_epochs"), "epoch": epoch_steps(phase, parser, batch),
        "operations": operations, "kept": kept / 2, "state": 4 * one[2] * 4,
    }  # fmt: skip


def measured(name: str) -> float | None:
    """Seconds of a phase's step on a GPU, where ``ci/gpu --write`` has left them."""
    file = BUNDLES / name.split()[0] / "docs" / "gpu.json"
    rows = json.loads(file.read_text(encoding="utf-8"))["rows"] if file.is_file() else []
    found = [row for row in rows if (row["what"], row["variant"]) == (f"step of {name}", "as configured")]
    return found[0].get("seconds") if found else None


def row(found: dict[str, Any]) -> str:
    """The table's row of a phase."""
    seconds, hours, bound = found["operations"] / (PEAK * SHARE), [], []
    loading, known = found["read"] / (CROPS * CROP_BYTES * CORES), measured(found["name"])
    steps = found["epochs"] * found["epoch"]
    for gpus, link in LINKS.items():
        parts = {"arithmetic": known or seconds, "loading": loading, "gradients": 4 * found["weights"] / link}
        each = max(parts["arithmetic"] + parts["gradients"], loading)
        hours.append(f"{steps / gpus * each / 3600:.2f}")
        bound.append(max(parts, key=lambda name: parts[name]))
    bounds = bound[0] if len(set(bound)) == 1 else ", ".join(bound)
    size = "x".join(map(str, found["shape"]))
    cells = [
        found["name"], f"{found['batch']} of {size}", f"{found['weights'] / 1e6:.1f}",
        f"{found['operations'] / 1e12:.2f}", f"{found['kept'] / 2**30:.1f}", f"{found['state'] / 2**30:.2f}",
        f"{1000 * seconds:.1f}", f"{1000 * known:.1f}" if known else "", f"{1000 * loading:.1f}",
        f"{found['read'] / 1e6:.1f}", f"{found['read'] * found['epoch'] / 1e9:.1f}", f"{steps:,}", *hours, bounds,
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def document() -> str:
    """The whole text."""
    columns = (
        "phase", "step of one GPU", "weights, M", "TFLOP", "activations, GiB", "state, GiB", "arithmetic, ms",
        "measured, ms", "loading, ms", "read a step, MB", "read an epoch, GB", "steps, 1 GPU", "hours, 1", "8", "64",
        "bound by",
    )  # fmt: skip
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += [row(count_adversarial(phase) if phase.domain else count(phase)) for phase in PHASES]
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail if the document is not up to date")
    args = parser.parse_args()
    text = document()
    if args.check:
        sys.exit(0 if DOCUMENT.is_file() and DOCUMENT.read_text(encoding="utf-8") == text else "SCALING.md is old")
    DOCUMENT.write_text(text, encoding="utf-8")
