"""AMLP's masking: k-means beside scikit-learn, its share of a training step, and how much lesion the masks hide.

    python tests/benchmarks/amlp.py labels [--images 200]       agreement with scikit-learn, and speed
    python tests/benchmarks/amlp.py step [--batch 4]            profile of one step of the U-Net
    python tests/benchmarks/amlp.py recall [--msd DIR]          lesion recall of the first masks against chance
    python tests/benchmarks/amlp.py recall --petct DIR          the same on DIR/*/{CTres,SUV,SEG}.nii.gz, a third

All take [--threads 1]. Times are medians over rounds in which the variants take turns; ``step`` takes [--device cuda].
``recall`` runs on the brain phantom, or on a folder in the layout of the Medical Segmentation Decathlon, with the
modality ``--channel``. Where air is kept, what prefers tissue hides more of it than the ratio says: air is about half.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.networks.nets import BasicUNet
from scipy.ndimage import gaussian_filter
from sklearn.cluster import KMeans
from torch import Tensor

from monai_ext.data.phantoms import generate_brain_mr
from monai_ext.losses import AMLPLoss, MaskedPatchLoss
from monai_ext.maskers import AdaptiveLesionMasker, PatchClustering, RandomMasker, RisingRatio, two_means
from monai_ext.metrics import lesion_recall
from monai_ext.networks.nets import MaskedImageModel
from monai_ext.networks.precision import autocast
from monai_ext.transforms import SlicePreprocessing

PATCH = (10, 10)
SIZE = 160


def normalize(volume: np.ndarray) -> np.ndarray:
    """Clip to percentiles 1-99 of the voxels that are not zero, z-score with their mean and spread."""
    inside = volume[volume != 0]
    volume = volume.clip(min(np.percentile(inside, 1), 0), np.percentile(inside, 99))
    return (volume - inside.mean()) / inside.std()


def fit(volume: np.ndarray, size: int) -> np.ndarray:
    """Crop or pad the first two axes about the middle."""
    pad = [(max(size - n, 0) // 2, (max(size - n, 0) + 1) // 2) for n in volume.shape[:2]]
    volume = np.pad(volume, [*pad, (0, 0)], constant_values=volume.min())
    start = [(n - size) // 2 for n in volume.shape[:2]]
    return volume[start[0] : start[0] + size, start[1] : start[1] + size]


def slices(items: list[tuple[np.ndarray, np.ndarray]], size: int = SIZE) -> tuple[Tensor, Tensor]:
    """Axial slices of volumes and labels that are not constant: two tensors ``[B, 1, size, size]``."""
    images, labels = [], []
    for volume, label in items:
        volume, label = fit(normalize(volume), size), fit(label, size)
        for k in range(volume.shape[2]):
            if np.ptp(volume[..., k]) > 0:
                images.append(volume[..., k])
                labels.append(label[..., k] > 0)
    return torch.tensor(np.stack(images), dtype=torch.float)[:, None], torch.tensor(np.stack(labels))[:, None]


def phantom_volumes(generate: Callable, keys: tuple[str, ...], cases: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    with tempfile.TemporaryDirectory() as folder:
        items = generate(Path(folder), num_training=cases, num_validation=0, num_testing=0)["training"]
        for item in items:
            label = np.asarray(nib.load(Path(folder) / item["label"]).dataobj)
            for key in keys:
                yield nib.load(Path(folder) / item[key]).get_fdata(), label


def random_images(count: int, smooth: bool = True) -> Tensor:
    """Smooth random fields with noise, of all sizes of structure; or white noise, which has no clusters."""
    rng = np.random.default_rng(0)
    noise = (rng.standard_normal((SIZE, SIZE)) for _ in range(count))
    if not smooth:
        return torch.tensor(np.stack(list(noise)), dtype=torch.float)[:, None]
    fields = [gaussian_filter(n, rng.uniform(2, 16)) for n in noise]
    images = [f / f.std() + rng.uniform(0, 0.3) * rng.standard_normal(f.shape) for f in fields]
    return torch.tensor(np.stack(images), dtype=torch.float)[:, None]


def scikit_learn(points: np.ndarray, valid: np.ndarray, seed: int = 0) -> list[np.ndarray]:
    return [KMeans(2, n_init=10, random_state=seed).fit_predict(x[use]) == 1 for x, use in zip(points, valid)]


def agreement(found: list[np.ndarray], reference: list[np.ndarray]) -> float:
    """Share of patches with the same label, whichever cluster is called True."""
    same = sum(max((a == b).sum(), (a != b).sum()) for a, b in zip(found, reference))
    return same / sum(len(a) for a in found)


def labels(args: argparse.Namespace) -> None:
    """Table of agreement and speed, batches of 40 images."""
    brain = slices(list(phantom_volumes(generate_brain_mr, ("t1", "t1ce", "t2", "flair"), 3)))[0]
    pick = torch.linspace(0, len(brain) - 1, min(args.images, len(brain))).long()
    sets = {
        "smooth random fields": (random_images(args.images), True),
        "brain phantom": (brain[pick], False),
        "brain phantom, air dropped": (brain[pick], True),
        "white noise": (random_images(args.images, smooth=False), True),
    }
    print("agreement with scikit-learn (n_init=10), with scikit-learn's other seed beside it; ms per image")
    print(f"{'images':<28}{'n':>5}{'ours':>9}{'itself':>9}{'ours, ms':>11}{'sklearn, ms':>13}{'faster':>9}")
    for name, (images, drop) in sets.items():
        cluster = PatchClustering(PATCH, ignore_background=drop)
        points, valid = cluster.patches(images)
        ours, theirs = [], []
        for _ in range(args.rounds):
            begin = time.perf_counter()
            split = torch.cat([two_means(*part) for part in zip(points.split(40), valid.split(40))])
            middle = time.perf_counter()
            reference = scikit_learn(points.numpy(), valid.numpy())
            ours.append(middle - begin)
            theirs.append(time.perf_counter() - middle)
        found = [row[use] for row, use in zip(split.numpy(), valid.numpy())]
        itself = agreement(scikit_learn(points.numpy(), valid.numpy(), seed=1), reference)
        fast, slow = (1000 * statistics.median(t) / len(images) for t in (ours, theirs))
        print(
            f"{name:<28}{len(images):>5}{agreement(found, reference):>9.4f}{itself:>9.4f}"
            f"{fast:>11.3f}{slow:>13.3f}{slow / fast:>8.0f}x"
        )


class Clock:
    """Seconds by the name of a part, waiting for the device."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.times = device, {}

    def __call__(self, name: str, function: Callable) -> object:
        self._wait()
        begin = time.perf_counter()
        result = function()
        self._wait()
        self.times.setdefault(name, []).append(time.perf_counter() - begin)
        return result

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def step(args: argparse.Namespace) -> None:
    """Profile of a pretraining step of the paper's U-Net with AMLP, and with random masks and the plain error."""
    device = torch.device(args.device)
    images = slices(list(phantom_volumes(generate_brain_mr, ("flair",), 1)))[0]
    image = images[torch.linspace(0, len(images) - 1, args.batch).long()].to(device)
    torch.manual_seed(0)
    unet = BasicUNet(2, 1, 1, features=(64, 128, 256, 512, 1024, 64))
    network = MaskedImageModel(unet, PATCH).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)
    cluster = PatchClustering(PATCH)
    variants = {
        "AMLP": (AdaptiveLesionMasker(cluster, RisingRatio()), AMLPLoss(PATCH, cluster)),
        "random": (RandomMasker(256, 0.75), MaskedPatchLoss(PATCH, normalize=False)),
    }
    clocks = {name: Clock(device) for name in variants}
    generator = torch.Generator(device)
    for turn in range(args.rounds + 1):
        for name, (masker, loss_function) in variants.items():
            clock = Clock(device) if turn == 0 else clocks[name]  # the first round warms up
            batch = {"image": image.clone()}  # a new batch: nothing is remembered
            mask = clock("masking", lambda: masker(batch, 0.5, generator))  # noqa: B023
            with autocast(device):
                pred = clock("network", lambda: network(batch["image"], mask))  # noqa: B023
            loss = clock("loss", lambda: loss_function(pred, batch["image"], mask))  # noqa: B023
            optimizer.zero_grad()
            clock("backward", loss.backward)
            clock("optimizer", optimizer.step)
    print(f"one step, batch {args.batch} of {SIZE}x{SIZE}, {device}; ms")
    for name, clock in clocks.items():
        parts = {part: 1000 * statistics.median(times) for part, times in clock.times.items()}
        total = sum(parts.values())
        print(f"{name:<8}" + "".join(f"{p:>12} {v:9.1f} ({v / total:5.2%})" for p, v in parts.items()))


def msd_volumes(folder: Path, channel: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for item in json.loads((folder / "dataset.json").read_text())["training"]:
        volume = nib.load(folder / item["image"]).get_fdata(dtype=np.float32)
        volume = volume[..., channel] if volume.ndim == 4 else volume
        if np.ptp(volume) > 0:
            yield volume, np.asarray(nib.load(folder / item["label"]).dataobj)


def petct_slices(folder: Path, key: str) -> tuple[Tensor, Tensor]:
    """Every second slice with lesion of every third case: 144x144 pixels of 1 mm, 4 mm apart."""
    prepare = SlicePreprocessing([key], (144, 144), (1, 1, 4), reference="ct")
    images, labels = [], []
    for case in sorted(path for path in folder.iterdir() if (path / "SEG.nii.gz").is_file())[::3]:
        names = {"ct": "CTres", "pet": "SUV", "label": "SEG"}
        item = prepare({"id": case.name, **{k: str(case / f"{name}.nii.gz") for k, name in names.items()}})
        image, label = (item[k].as_tensor().movedim(-1, 0) for k in ("image", "label"))
        shown = label.flatten(1).any(1)
        images.append(image[shown][::2])
        labels.append(label[shown][::2] > 0)
    return torch.cat(images), torch.cat(labels)


def recall(args: argparse.Namespace) -> None:
    """Mean lesion recall over slices with lesion patches, at the mask ratios of an early, a middle and a late epoch."""
    if args.petct:
        sets = {key: (*petct_slices(args.petct, key), (9, 9)) for key in ("pet", "ct")}
    elif args.msd:
        patch = (args.size // 16,) * 2
        sets = {args.msd.name: (*slices(list(msd_volumes(args.msd, args.channel)), args.size), patch)}
    else:
        sets = {
            f"brain phantom, {key}": (*slices(list(phantom_volumes(generate_brain_mr, (key,), args.cases))), PATCH)
            for key in ("t1", "t1ce", "t2", "flair")
        }
    settings = [("random", "smaller", True)]
    settings += [("foreground_first", name, drop) for name in ("smaller", "brighter") for drop in (True, False)]
    ratios = (0.25, 0.5, 0.75)
    print("lesion recall of the masks (chance = the ratio)")
    print(
        f"{'images':<24}{'slices':>7}  {'order':<18}{'foreground':<12}{'air':<9}" + "".join(f"{r:>8}" for r in ratios)
    )
    for name, (images, label, patch) in sets.items():
        for order, foreground, drop in settings:
            clustering = PatchClustering(patch, ignore_background=drop, foreground=foreground)
            row = []
            for ratio in ratios:
                masker = AdaptiveLesionMasker(clustering, ratio, order)
                mask = masker({"image": images}, 0.0, torch.Generator().manual_seed(0))
                found, _ = lesion_recall(mask, label, patch)
                row.append(found.nanmean().item())
            count = int((~found.isnan()).sum())
            air = "dropped" if drop else "kept"
            values = "".join(f"{value:8.2f}" for value in row)
            print(f"{name:<24}{count:>7}  {order:<18}{foreground:<12}{air:<9}{values}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("labels", "step", "recall"))
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--msd", type=Path)
    parser.add_argument("--petct", type=Path)
    parser.add_argument("--channel", type=int, default=1)
    parser.add_argument("--size", type=int, default=128)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    {"labels": labels, "step": step, "recall": recall}[options.part](options)
