"""One AnatoMask step (teacher forward, mask, student forward and backward) beside a plain statement of the method.

The plain one is what a reader of the paper and of SparK would write first: every operation of the encoder expands the
mask again, norms gather the visible voxels and scatter them back, the finest scale is densified and never used, fp32,
torch's default layout. Each row changes one thing more. Times are processor seconds, medians over rounds in which all
variants take turns. The peak is the largest resident memory of a fresh process that does two steps, less what it held
after its imports: weights, activations, gradients and whatever the libraries take. It varies by a twentieth, hence the
median of as many processes as there are rounds.

    python tests/benchmarks/anatomask.py [--size B] [--image 64 64 64] [--batch 1] [--rounds 3] [--threads 1]
        [--variants plain "ours, fp32"]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monai_ext.losses import MaskedPatchLoss
from monai_ext.maskers import AnatoMasker
from monai_ext.networks.blocks import normalize_patches, patchify
from monai_ext.networks.nets import MaskedSTUNet

PATCH = (16, 16, 16)


@dataclass(frozen=True)
class Variant:
    name: str
    plain: bool = True
    dead_branch: bool = True
    gather: bool = True
    expand: bool = True
    bf16: bool = False
    channels_last: bool = False
    compiled: bool = False


VARIANTS = [
    Variant("plain"),
    Variant("- dead branch", dead_branch=False),
    Variant("- gather norms", dead_branch=False, gather=False),
    Variant("- repeated expansion", dead_branch=False, gather=False, expand=False),
    Variant("plain, channels last", channels_last=True),
    Variant("plain, bf16", bf16=True),
    Variant("ours, fp32, torch's layout", plain=False),
    Variant("ours, fp32", plain=False, channels_last=True),
    Variant("ours, bf16, torch's layout", plain=False, bf16=True),
    Variant("ours, bf16 (default)", plain=False, bf16=True, channels_last=True),
    Variant("ours, bf16, decoder compiled", plain=False, bf16=True, channels_last=True, compiled=True),
]


class Mask:
    """The visible patches of a batch, expanded to the requested size."""

    def __init__(self, mask: Tensor, grid: tuple[int, ...], every_time: bool) -> None:
        self.coarse = (~mask).view(mask.shape[0], 1, *grid)
        self.every_time = every_time
        self.cache: dict[int, Tensor] = {}

    def at(self, size: int) -> Tensor:
        if self.every_time or size not in self.cache:
            repeat = size // self.coarse.shape[2]
            self.cache[size] = (
                self.coarse.repeat_interleave(repeat, 2).repeat_interleave(repeat, 3).repeat_interleave(repeat, 4)
            )
        return self.cache[size]


class PlainNorm(nn.Module):
    """Norm over the visible voxels of the batch: gather, normalize, scatter; or by masked moments."""

    def __init__(self, channels: int, gather: bool) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.gather = gather

    def forward(self, x: Tensor, mask: Mask) -> Tensor:
        visible = mask.at(x.shape[2])
        if not self.gather:
            seen, dims = visible.to(x.dtype), (0, 2, 3, 4)
            mean = (x * seen).sum(dims, keepdim=True) / seen.sum()
            centered = (x - mean) * seen
            inv_std = (centered.square().sum(dims, keepdim=True) / seen.sum() + 1e-5).rsqrt()
            return centered * (self.weight[:, None, None, None] * inv_std) + self.bias[:, None, None, None] * seen
        index = visible.squeeze(1).nonzero(as_tuple=True)
        last = x.permute(0, 2, 3, 4, 1)
        normed = F.batch_norm(last[index], None, None, self.weight, self.bias, training=True)
        out = torch.zeros_like(last)
        out[index] = normed
        return out.permute(0, 4, 1, 2, 3)


class PlainConv(nn.Conv3d):
    def forward(self, x: Tensor, mask: Mask) -> Tensor:  # type: ignore[override]
        x = super().forward(x)
        return x * mask.at(x.shape[2])


class PlainBlock(nn.Module):
    def __init__(self, cin: int, cout: int, stride: int, gather: bool) -> None:
        super().__init__()
        self.conv1, self.norm1 = PlainConv(cin, cout, 3, stride, 1), PlainNorm(cout, gather)
        self.conv2, self.norm2 = PlainConv(cout, cout, 3, 1, 1), PlainNorm(cout, gather)
        self.conv3 = PlainConv(cin, cout, 1, stride)

    def forward(self, x: Tensor, mask: Mask) -> Tensor:
        y = F.leaky_relu(self.norm1(self.conv1(x, mask), mask), 0.01, inplace=True)
        y = self.norm2(self.conv2(y, mask), mask)
        y = y + self.conv3(x, mask)
        return F.leaky_relu(y, 0.01, inplace=True)


class PlainNet(nn.Module):
    """Masked STU-Net with one block per stage (sizes S and B), SparK's densification and light decoder."""

    def __init__(self, base: int, variant: Variant) -> None:
        super().__init__()
        self.variant = variant
        widths = [base * 2**i for i in range(5)]
        self.encoder = nn.ModuleList(
            PlainBlock(cin, cout, 1 if i == 0 else 2, variant.gather)
            for i, (cin, cout) in enumerate(zip([1, *widths], widths))
        )
        wide = widths[::-1]
        dense = wide if variant.dead_branch else wide[:-1]
        self.norms = nn.ModuleList(PlainNorm(w, variant.gather) for w in dense)
        self.tokens = nn.ParameterList(torch.zeros(1, w, 1, 1, 1) for w in dense)
        self.projs = nn.ModuleList(nn.Identity() if i == 0 else nn.Conv3d(w, w, 3, 1, 1) for i, w in enumerate(dense))
        self.decoder = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose3d(cin, cin, 4, 2, 1),
                nn.Conv3d(cin, cin, 3, 1, 1, bias=False),
                nn.BatchNorm3d(cin),
                nn.ReLU6(inplace=True),
                nn.Conv3d(cin, cout, 3, 1, 1, bias=False),
                nn.BatchNorm3d(cout),
            )
            for cin, cout in pairwise(wide)
        )
        self.proj = nn.Conv3d(wide[-1], 1, 1)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        grid = tuple(s // p for s, p in zip(image.shape[2:], PATCH))
        visible = Mask(mask, grid, self.variant.expand)
        x = image * visible.at(image.shape[2])
        features = []
        for block in self.encoder:
            x = block(x, visible)
            features.append(x)
        dense = []
        for norm, token, proj, feature in zip(self.norms, self.tokens, self.projs, features[::-1]):
            feature = norm(feature, visible)
            feature = torch.where(visible.at(feature.shape[2]).expand_as(feature), feature, token.expand_as(feature))
            dense.append(proj(feature))
        x = 0
        for i, block in enumerate(self.decoder):
            x = block(x + dense[i])
        return self.proj(x)


def plain_error(pred: Tensor, image: Tensor) -> Tensor:
    return (patchify(pred, PATCH) - normalize_patches(patchify(image, PATCH))).square().mean(-1)


def plain_step(student: nn.Module, teacher: nn.Module, image: Tensor) -> None:
    """The step of the paper, sample by sample, at r_t = 0.25."""
    total = image[0, 0].numel() // 16**3
    masked = total - round(0.4 * total)
    order = torch.stack([torch.randperm(total, device=image.device) for _ in image])
    mask = torch.zeros(len(image), total, dtype=torch.bool, device=image.device).scatter_(1, order[:, :masked], True)
    with torch.no_grad():
        error = plain_error(teacher(image, mask), image).masked_fill(~mask, -1)
    final = torch.zeros_like(mask)
    for i, row in enumerate(error):
        hardest = row.argsort(descending=True)[: int(0.25 * masked)]
        others = torch.tensor(sorted(set(range(total)) - set(hardest.tolist())))
        final[i, hardest] = True
        final[i, others[torch.randperm(len(others))[: masked - len(hardest)]]] = True
    error = plain_error(student(image, final), image)
    ((error * final).sum() / final.sum()).backward()


class Step:
    """One variant, ready to run."""

    def __init__(self, variant: Variant, size: str, image: list[int], batch: int, device: str = "cpu") -> None:
        torch.manual_seed(0)
        self.variant = variant
        self.image = torch.randn(batch, 1, *image).to(device)
        base = {"S": 16, "B": 32}[size]
        self.student, self.teacher = (
            (PlainNet(base, variant) if variant.plain else MaskedSTUNet(1, size, mask_ratio=0.6)).to(device)
            for _ in range(2)
        )
        self.teacher.requires_grad_(False)
        layout = torch.channels_last_3d if variant.channels_last else torch.contiguous_format
        self.student.to(memory_format=layout)
        self.teacher.to(memory_format=layout)
        if variant.compiled:  # the encoder's gather of visible patches cannot be traced
            self.student.decoder.compile()
            self.teacher.decoder.compile()
        self.masker = AnatoMasker(PATCH, teacher=self.teacher)
        self.loss = MaskedPatchLoss(PATCH)

    def __call__(self) -> float:
        self.student.zero_grad()
        start = time.process_time()
        amp = torch.autocast(self.image.device.type, torch.bfloat16, enabled=self.variant.bf16)
        if self.variant.plain:
            with amp:
                plain_step(self.student, self.teacher, self.image)
        else:
            with amp:
                mask = self.masker({"image": self.image}, progress=0.5)
                pred = self.student(self.image, mask)
            self.loss(pred, self.image, mask).backward()
        return time.process_time() - start


def peak_mib() -> float:
    """Largest resident memory so far (Linux); ru_maxrss would include that of the parent process."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="B", choices=["S", "B"])
    parser.add_argument("--image", type=int, nargs=3, default=[64, 64, 64], help="voxels, multiples of 16")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    names = [variant.name for variant in VARIANTS]
    parser.add_argument("--variants", nargs="+", default=names, choices=names, help="the first one is the reference")
    parser.add_argument("--peak", type=int, help="print the peak memory of this variant, in MiB, and end")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.peak is not None:
        imports = peak_mib()
        step = Step(VARIANTS[args.peak], args.size, args.image, args.batch)
        step()
        step()
        print(peak_mib() - imports)
        return
    chosen = [names.index(name) for name in args.variants]
    steps = [Step(VARIANTS[i], args.size, args.image, args.batch) for i in chosen]
    times: list[list[float]] = [[] for _ in steps]
    for step in steps:
        step()
    for _ in range(args.rounds):
        for step, record in zip(steps, times):
            record.append(step())
    del steps
    image = "x".join(map(str, args.image))
    print(f"{args.size}, batch {args.batch} of {image}, {args.threads} thread(s), {args.rounds} rounds")
    print(f"{'':36}{'CPU s':>8}{'faster':>8}{'peak MiB':>10}{'of plain':>9}")
    reference = None
    for i, record in zip(chosen, times):
        command = [sys.executable, *sys.argv, "--peak", str(i)]
        peak = statistics.median(float(subprocess.check_output(command)) for _ in range(args.rounds))
        reference = reference or peak
        seconds = statistics.median(record)
        speedup = statistics.median(a / b for a, b in zip(times[0], record))
        print(f"{names[i]:36}{seconds:8.2f}{speedup:7.2f}x{peak:10.0f}{peak / reference:8.2f}x")


if __name__ == "__main__":
    main()
