"""The full-size loader of autoPET: crops per second and per core with the augmentation on the processors and without.

    python tests/benchmarks/pipeline.py [--crop 128 192 160] [--crops 6] [--rounds 3]
    python tests/benchmarks/pipeline.py --start 1600    # seconds until so many cached cases are known, and their size

Volumes are random, of a whole body's size, in a cache as a training has it. The variants take turns; figures are
medians of crops per processor second of one thread. The first is what a loader did before: MONAI's transforms on each
crop, with nnU-Net's first elastic deformation. The last is what a loader does when the batch is augmented on the GPU.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor

from monai_ext.data import CropDataset, VolumeDataset
from monai_ext.transforms import SegmentationAugmentation

BODY = (400, 400, 326)  # voxels of 2.036 x 2.036 x 3 mm


class RandomBodies:
    """Random volumes in the place of a preprocessing."""

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(shape)

    def __repr__(self) -> str:
        return f"RandomBodies({self.shape})"

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Any]:
        draws = torch.Generator().manual_seed(int(item["id"]))
        plane = torch.randn(2, *self.shape[:2], 1, generator=draws)
        image = plane + torch.linspace(0, 1, self.shape[2])
        label = (image[:1] > 2.5).to(torch.uint8)
        return {"id": item["id"], "image": MetaTensor(image.contiguous()), "label": MetaTensor(label)}


def dataset(
    folder: str | Path, shape: Sequence[int], crop: Sequence[int], transform: Callable[[Any], Any] | None, crops: int
) -> CropDataset:
    """AutoPET's data set of crops of random bodies; the crop has a margin for rotation, as in the config."""
    return CropDataset(
        [{"id": str(number)} for number in range(2)], RandomBodies(shape), folder, [int(1.25 * n) for n in crop],
        foreground=0.33, num_crops=crops, crop_transform=transform, pad_value=None,
    )  # fmt: skip


def measure_start(cases: int, folder: str, shape: Sequence[int]) -> None:
    """Seconds to find all cases of a cache complete, by size and time or by checksum; bytes of a case in both types."""
    data = [{"id": str(number)} for number in range(cases)]
    sizes = []
    for half in (False, True):
        VolumeDataset(data[:2], RandomBodies(shape), f"{folder}/{half}", half=half).prepare()
        sizes.append(sum(file.stat().st_size for file in Path(f"{folder}/{half}").glob("*-image.npy")) / 2)
    print(f"image of a case: float32 {sizes[0] / 1e6:.2f} MB, float16 {sizes[1] / 1e6:.2f} MB")
    VolumeDataset(data, RandomBodies(shape), f"{folder}/True", half=True).prepare()
    for verify in (False, True):
        begin = time.perf_counter()
        VolumeDataset(data, RandomBodies(shape), f"{folder}/True", half=True, verify=verify).prepare()
        how = "checksum" if verify else "size and time"
        print(f"start with {cases} cases of {'x'.join(map(str, shape))}, by {how}: {time.perf_counter() - begin:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crop", type=int, nargs=3, default=[160, 192, 128])
    parser.add_argument("--body", type=int, nargs=3, default=list(BODY))
    parser.add_argument("--crops", type=int, default=6, help="of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--start", type=int, help="measure the start with so many cached cases instead")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.start:
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
            measure_start(args.start, folder, (32, 32, 32))
        return
    flips = {"size": args.crop, "outside": "border"}
    variants = {
        "augmented on the processor, elastic": SegmentationAugmentation(**flips, elastic=True),
        "augmented on the processor, splines": SegmentationAugmentation(**flips, deform=(2.0, 8.0)),
        "augmented on the device": None,
    }
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        sets = {name: dataset(folder, args.body, args.crop, t, args.crops) for name, t in variants.items()}
        rates: dict[str, list[float]] = {name: [] for name in variants}
        for turn in range(args.rounds):
            for name, crops in sets.items():
                crops.set_epoch(turn)
                crops[0]  # the pages of the cache are in memory
                start = time.process_time()
                for index in range(args.crops):
                    crops[index]
                rates[name].append(args.crops / (time.process_time() - start))
    first = statistics.median(rates["augmented on the processor, elastic"])
    what = f"median of {args.rounds} rounds of {args.crops}, torch {torch.__version__}"
    print(f"crops of {'x'.join(map(str, args.crop))} per processor second, {what}")
    for name, values in rates.items():
        print(f"{name:38}{statistics.median(values):8.2f}{statistics.median(values) / first:8.1f}x")


if __name__ == "__main__":
    main()
