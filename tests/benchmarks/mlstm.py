"""Time and memory of the xLSTM block by its number of tokens, and of the whole networks.

    python tests/benchmarks/mlstm.py                      # a block of dim 320, forward and backward
    python tests/benchmarks/mlstm.py --nets [Bot Enc]     # whole networks at 96^3, forward and backward
    python tests/benchmarks/mlstm.py --device cuda --compile

Ours in chunks beside the quadratic form and, where the ``xlstm`` package is installed, its chunkwise form, all inside
the same block. The forms take turns, so that whatever else the machine does hits all of them; times are medians. Peak
memory is what one step adds: to the resident memory of a process of its own (Linux), or as CUDA counts it.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from monai_ext.networks.blocks import ViLBlock, ViLLayer, mlstm_chunkwise, mlstm_parallel
from monai_ext.networks.nets import XLSTMUNet

FORMS: dict[str, Callable[..., Tensor]] = {"ours": mlstm_chunkwise, "quadratic": mlstm_parallel}
try:
    from xlstm.blocks.mlstm.backends import chunkwise_simple
except ImportError:
    pass
else:
    # All its arguments are of one type.
    FORMS["xlstm"] = lambda *arguments: chunkwise_simple(*(x.contiguous().to(arguments[-1].dtype) for x in arguments))

NETS = {
    "no xLSTM": {"position": "none"},
    "Bot, one way": {"position": "bottleneck", "bidirectional": False},
    "Bot": {"position": "bottleneck"},
    "Enc, one way": {"position": "encoder", "bidirectional": False},
    "Enc": {"position": "encoder"},
}


def build(name: str, options: argparse.Namespace) -> nn.Module:
    torch.manual_seed(0)
    if name in NETS:
        module: nn.Module = XLSTMUNet(deep_supervision=1, **NETS[name])
    else:
        module = ViLBlock(320, options.bidirectional)
        for layer in module.modules():
            if isinstance(layer, ViLLayer):
                layer.cell.mlstm = FORMS[name]
    module.to(options.device)
    return torch.compile(module) if options.compile else module


def step(module: nn.Module, shape: list[int], device: str, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one forward and backward pass."""
    x = torch.randn(shape, device=device, requires_grad=True)
    torch.cuda.synchronize() if device == "cuda" else None
    start = clock()
    module(x).mean().backward()
    torch.cuda.synchronize() if device == "cuda" else None
    return clock() - start


def peak(name: str, shape: list[int], options: argparse.Namespace) -> float:
    """GB that one step adds. On the CPU, call it once per process, and first."""
    module = build(name, options)
    if options.device == "cuda":
        step(module, shape, "cuda")
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(module, shape, "cuda")
        return (torch.cuda.max_memory_allocated() - before) / 1e9
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of importing and building
    before = largest_resident_memory()
    step(module, shape, "cpu")
    return largest_resident_memory() - before


def largest_resident_memory() -> float:
    """GB; getrusage would include the memory of the process that started this one."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024 / 1e9


def peak_of_a_process(name: str, shape: list[int], options: argparse.Namespace) -> float:
    if options.device == "cuda":
        return peak(name, shape, options)
    command = [sys.executable, __file__, *sys.argv[1:], "--peak", json.dumps([name, shape])]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def compare(names: list[str], shape: list[int], repeats: int, options: argparse.Namespace) -> None:
    modules = {name: build(name, options) for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    clock = time.process_time if options.cpu_time else time.perf_counter
    for _ in range(repeats + 1):
        for name, module in modules.items():
            times[name].append(step(module, shape, options.device, clock))
    for name in names:
        seconds, first = (statistics.median(times[n][1:]) for n in (name, names[0]))
        memory = peak_of_a_process(name, shape, options)
        size = "x".join(map(str, shape[2:] if name in NETS else shape[1:2]))
        print(f"{size:>12} {name:<14} {seconds:9.3f} {seconds / first:9.2f} {memory:9.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[512, 2048, 8192])
    parser.add_argument("--forms", nargs="+", default=list(FORMS), choices=list(FORMS))
    parser.add_argument("--repeats", type=int, default=3, help="of the longest; shorter ones are repeated more")
    parser.add_argument("--bidirectional", action="store_true")
    parser.add_argument("--nets", nargs="*", choices=list(NETS))
    parser.add_argument("--size", type=int, default=96, help="of the image for --nets")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true", help="for a busy machine; with --threads 1")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak:
        print(peak(*json.loads(options.peak), options))
        return
    print(f"torch {torch.__version__}, {options.device}, {options.threads} threads, fp32, compile {options.compile}")
    print(f"{'tokens/size':>12} {'':<14} {'seconds':>9} {'ratio':>9} {'peak GB':>9}")
    if options.nets is not None:
        compare(options.nets or list(NETS), [1, 2, *[options.size] * 3], options.repeats, options)
    else:
        for tokens in options.tokens:
            compare(options.forms, [1, tokens, 320], options.repeats * max(1, 4096 // tokens), options)


if __name__ == "__main__":
    main()
