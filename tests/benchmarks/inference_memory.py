"""Peak memory of segmenting one large volume into many classes: the sliding window's own, beside what the whole takes.

The network is one 1x1x1 convolution, so that what is measured is the window, its probabilities and the sums. The peak
is the largest resident memory of a fresh process less what it held before; see the docstring of SlidingWindow.

    python tests/benchmarks/inference_memory.py [--edge 400] [--classes 105] [--half] [--whole]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch import nn

from monai_ext.inferers import SlidingWindow


def peak_mib() -> float:
    """Largest resident memory so far (Linux)."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", type=int, default=400)
    parser.add_argument("--classes", type=int, default=105)
    parser.add_argument("--half", action="store_true", help="sums in float16")
    parser.add_argument("--whole", action="store_true", help="keep all classes of the whole volume")
    parser.add_argument("--overlap", type=float, default=0.5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    volume = torch.randn(1, 1, args.edge, args.edge, args.edge)
    network = nn.Conv3d(1, args.classes, 1).eval()
    inferer = SlidingWindow((112, 112, 128), args.overlap, argmax=not args.whole, half=args.half)
    before, start = peak_mib(), time.process_time()
    labels = inferer(volume, network)
    kept, sums = "whole" if args.whole else "slab", "float16" if args.half else "float32"
    print(f"{args.classes} classes on {args.edge}^3, {kept}, {sums}")
    print(f"result {tuple(labels.shape)} {labels.dtype}, {time.process_time() - start:.0f} CPU s")
    print(f"peak {(peak_mib() - before) / 1024:.2f} GiB more than before")


if __name__ == "__main__":
    main()
