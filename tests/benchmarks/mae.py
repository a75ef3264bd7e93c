"""One pretraining step of prostate MAE beside MONAI's stock MaskedAutoEncoderViT at equal sizes.

    python tests/benchmarks/mae.py [--batch_size 64] [--threads 2] [--repeats 5]

A step is masking, forward, loss on the masked patches, backward and AdamW. The variants take turns in one process, and
the ratio is the median over the turns of (stock fp32 / variant). Peak memory is that of a fresh process per variant
less that of one which only built the same network. MONAI's network cannot run under CPU autocast (it writes bf16 tokens
into an fp32 buffer), so it has no bf16 row on a CPU.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from monai.networks.nets import MaskedAutoEncoderViT
from torch.profiler import profile

from monai_ext.losses import MaskedPatchLoss
from monai_ext.maskers import LesionAwareMasker
from monai_ext.networks.blocks import patchify
from monai_ext.networks.nets import MaskedAutoencoder
from monai_ext.networks.precision import autocast

SIZES = {"hidden_size": 384, "mlp_dim": 1536, "num_layers": 12, "num_heads": 6}
DECODER = {"decoder_hidden_size": 192, "decoder_mlp_dim": 768, "decoder_num_layers": 4, "decoder_num_heads": 6}


def stock(image: torch.Tensor, amp: bool) -> Callable[[], None]:
    """Step of MONAI's network with its own masking."""
    net = MaskedAutoEncoderViT(3, 88, 8, masking_ratio=0.75, spatial_dims=2, **SIZES, **DECODER).to(image.device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    target = patchify(image, (8, 8))

    def step() -> None:
        optimizer.zero_grad()
        with autocast(image.device, amp):
            pred, mask = net(image)
        mask = mask.to(image.device)
        (((pred.float() - target) ** 2).mean(-1) * mask).sum().div(mask.sum()).backward()
        optimizer.step()

    return step


def ours(image: torch.Tensor, amp: bool) -> Callable[[], None]:
    """Step of ours with lesion-aware masking and normalised targets."""
    net, masker, loss = MaskedAutoencoder().to(image.device), LesionAwareMasker(), MaskedPatchLoss((8, 8))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    batch = {"image": image, "label": torch.zeros_like(image[:, :1])}

    def step() -> None:
        optimizer.zero_grad()
        mask = masker(batch)
        with autocast(image.device, amp):
            pred = net(image, mask)
        loss(pred, image, mask).backward()
        optimizer.step()

    return step


VARIANTS = {
    "stock fp32": (stock, False),
    "stock bf16": (stock, True),
    "ours fp32": (ours, False),
    "ours bf16 (default)": (ours, True),
}


def build(name: str, batch_size: int, device: str | None = None) -> Callable[[], None]:
    """The step of a variant."""
    torch.manual_seed(0)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    make, amp = VARIANTS[name]
    return make(torch.randn(batch_size, 3, 88, 88, device=device), amp)


def peak(name: str, batch_size: int, steps: int) -> float:
    """Peak memory in MiB of ``steps`` steps, in a process of their own."""
    command = [sys.executable, "-W", "ignore", __file__, "--memory", name, "--batch_size", str(batch_size)]
    result = subprocess.run([*command, "--repeats", str(steps)], capture_output=True, text=True, check=True)
    return float(result.stdout.split()[-1])


def resident_peak() -> float:
    """Largest resident memory of this process in MiB; ru_maxrss would include that of its parent process."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="where the time of our default step goes")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    on_gpu = torch.cuda.is_available()
    if arguments.memory:
        step = build(arguments.memory, arguments.batch_size)
        for _ in range(arguments.repeats):
            step()
        print(torch.cuda.max_memory_allocated() / 2**20 if on_gpu else resident_peak())
        return
    names = [name for name in VARIANTS if on_gpu or name != "stock bf16"]
    steps = {name: build(name, arguments.batch_size) for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(arguments.repeats + 2):
        for name, step in steps.items():
            if on_gpu:
                torch.cuda.synchronize()
            start = time.perf_counter()
            step()
            if on_gpu:
                torch.cuda.synchronize()
            if turn >= 2:
                times[name].append(time.perf_counter() - start)
    print(f"batch {arguments.batch_size}, {arguments.threads} threads, torch {torch.__version__}")
    print(f"{'variant':22}{'s/step':>9}{'speed-up':>10}{'peak MiB':>10}")
    for name in names:
        ratio = statistics.median(a / b for a, b in zip(times["stock fp32"], times[name]))
        memory = peak(name, arguments.batch_size, 3) - (0 if on_gpu else peak(name, arguments.batch_size, 0))
        print(f"{name:22}{statistics.median(times[name]):9.3f}{ratio:10.2f}{memory:10.0f}")
    if arguments.profile:
        with profile() as prof:
            steps["ours bf16 (default)"]()
        print(prof.key_averages().table(sort_by="self_cpu_time_total", row_limit=12))


if __name__ == "__main__":
    main()
