"""Does context decide on the phantom ``prostate_context``? Classifiers with and without it, on unseen patients.

    python tests/benchmarks/context_probe.py [--seeds 0,1,2] [--training 30] [--testing 30] [--steps 800]

Both learn from the training patients and score every voxel of the test patients' glands, on the crops that prostate MAE
sees (64x64, one slice per 3 mm). Gradient-boosted trees know the three intensities of a voxel; or these and their local
means; or also how much the local means differ from those of the mirrored place in the gland. The U-Net knows the slice,
or the slice and its mirror image. Figures: area under the curve over all voxels of the glands, and the best Dice over
all thresholds.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.networks.nets import UNet
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from torch.nn.functional import affine_grid, binary_cross_entropy_with_logits, grid_sample

from monai_ext.data.phantoms.prostate_context import generate_prostate_context
from monai_ext.transforms import BpMRIPreprocessing
from monai_ext.transforms.resample import onto_grid

Array = NDArray[np.floating[Any]]
Slices = tuple[Array, Array, Array]  # images [N, 3, X, Y], lesions and glands [N, X, Y]
PREPARE = BpMRIPreprocessing(img_size=(64, 64, 18), resample_size=(192, 192, 18))


def crop(item: dict[str, Any], prepare: BpMRIPreprocessing = PREPARE) -> tuple[Array, Array, Array]:
    """Image ``[3, X, Y, Z]`` (ADC in 1e-6 mm2/s), lesion and zones ``[X, Y, Z]`` of an item with absolute paths."""
    found = prepare({key: item[key] for key in ("id", "t2w", "adc", "hbv", "label", "gland")})
    image = found["image"].as_tensor().numpy().copy()
    image[1] = 500 * image[1] + 1200
    mask = nib.load(item["zones"])
    zones = MetaTensor(torch.as_tensor(np.asarray(mask.dataobj, dtype=np.float32))[None], affine=mask.affine)
    on_crop = onto_grid(zones, found["image"].affine, image.shape[1:], "nearest").numpy()[0]
    return image, found["label"].as_tensor().numpy()[0] > 0, on_crop.round()


def statistics(image: Array, lesion: Array, zones: Array) -> dict[tuple[str, str, str], float]:
    """Mean and standard deviation by region and modality of a crop, and its roughness.

    The roughness is the standard deviation in the gland of what a Gaussian of one pixel removes, as a share of that of
    the gland: noise and fine texture.
    """
    gland = zones > 0
    regions = {"crop": zones >= 0, "gland": gland, "peripheral": zones == 1, "transition": zones == 2, "lesion": lesion}
    result = {}
    for modality, values in zip(("t2w", "adc", "hbv"), image):
        for name, where in regions.items():
            if where.any():
                result[name, modality, "mean"] = float(values[where].mean())
                result[name, modality, "sd"] = float(values[where].std())
        fine = values - ndimage.gaussian_filter(values, (1, 1, 0))
        result["roughness", modality, "sd"] = float(fine[gland].std() / values[gland].std())
    return result


def slices(items: list[dict[str, Any]]) -> Slices:
    """Slices with gland of some patients, ADC scaled as the network sees it."""
    found = []
    for item in items:
        image, lesion, zones = crop(item)
        image[1] = (image[1] - 1200) / 500
        gland = (zones > 0) | lesion
        chosen = np.flatnonzero(gland.sum((0, 1)) > 60)
        found.append(tuple(np.moveaxis(v[..., chosen], -1, 0) for v in (image, lesion, gland)))
    images, lesions, glands = (np.concatenate(parts) for parts in zip(*found))
    return images, lesions, glands


def judge(scores: Array, test: Slices) -> tuple[float, float]:
    """Area under the curve and best Dice over all thresholds, of ``scores [N, X, Y]`` in the glands."""
    _, lesions, glands = test
    values, truth = scores[glands], lesions[glands]
    hits = np.cumsum(truth[np.argsort(-values)])
    dice = 2 * hits / (np.arange(1, len(truth) + 1) + truth.sum())
    return float(roc_auc_score(truth, values)), float(dice.max())


def pixel_scores(training: Slices, test: Slices) -> Array:
    """Scores of a classifier that knows a voxel's own three intensities."""
    return _tree_scores(training, test, lambda images, glands: images)


def local_scores(training: Slices, test: Slices) -> Array:
    """Scores of a classifier that also knows their means over 1 and 2 pixels."""
    return _tree_scores(training, test, lambda images, glands: _means(images, (0, 1, 2)))


def context_scores(training: Slices, test: Slices) -> Array:
    """Scores of a classifier that also knows how the means differ from those of the mirrored place."""

    def features(images: Array, glands: Array) -> Array:
        wide = _means(images, (2, 4))
        return np.concatenate([_means(images, (0, 1, 2)), wide, _mirrored(wide, glands) - wide], 1)

    return _tree_scores(training, test, features)


def _means(images: Array, sizes: tuple[int, ...]) -> Array:
    return np.concatenate([ndimage.gaussian_filter(images, (0, 0, s, s)) if s else images for s in sizes], 1)


def _mirrored(images: Array, glands: Array) -> Array:
    """Each slice about the middle of its gland."""
    columns = np.arange(images.shape[2])
    middle = (glands.any(2) * columns).sum(1) / glands.any(2).sum(1)
    source = np.rint(2 * middle[:, None] - columns).astype(int).clip(0, len(columns) - 1)
    return np.take_along_axis(images, source[:, None, :, None], 2)


def _tree_scores(training: Slices, test: Slices, features: Callable[[Array, Array], Array]) -> Array:
    images, lesions, glands = training
    known, truth = np.moveaxis(features(images, glands), 1, -1)[glands], lesions[glands]
    rng = np.random.default_rng(0)
    healthy = rng.choice(np.flatnonzero(~truth), min(50_000, np.count_nonzero(~truth)), replace=False)
    chosen = np.concatenate([healthy, np.flatnonzero(truth)])
    trees = HistGradientBoostingClassifier(learning_rate=0.08, max_leaf_nodes=15, min_samples_leaf=100, random_state=0)
    trees.fit(known[chosen], truth[chosen])
    scores = np.zeros(test[2].shape)
    scores[test[2]] = trees.predict_proba(np.moveaxis(features(test[0], test[2]), 1, -1)[test[2]])[:, 1]
    return scores


def unet_scores(training: Slices, test: Slices, steps: int = 800, mirror: bool = False, seed: int = 0) -> Array:
    """Scores of a small U-Net; with ``mirror`` it sees beside each slice the mirror image of it, left to right."""

    def look(image: torch.Tensor) -> torch.Tensor:
        return torch.cat([image, image.flip(2)], 1) if mirror else image

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    body = UNet(2, 6 if mirror else 3, 8, (8, 16, 24, 32), (2, 2, 2), num_res_units=1, dropout=0.1)
    network = torch.nn.Sequential(body, torch.nn.ReLU(), torch.nn.Conv2d(8, 1, 1))
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.1)
    stack = torch.cat([torch.as_tensor(v).float().reshape(len(v), -1, *v.shape[-2:]) for v in training], 1)
    diseased = np.flatnonzero(training[1].sum((1, 2)) >= 5)
    for _ in range(steps):
        batch = stack[np.concatenate([rng.choice(diseased, 8), rng.choice(len(stack), 8)])]
        batch = _moved(batch.flip(2) if rng.random() < 0.5 else batch)
        image, lesion, gland = batch.split((3, 1, 1), 1)
        image = image * (1 + 0.15 * torch.randn(16, 3, 1, 1)) + 0.2 * torch.randn(16, 3, 1, 1)
        weight = (gland > 0.5) * (1 + 7 * (lesion > 0.5))
        loss = binary_cross_entropy_with_logits(network(look(image)), (lesion > 0.5).float(), weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()
    with torch.no_grad():
        found = [network(look(image)) for image in torch.as_tensor(test[0]).float().split(32)]
    return torch.cat(found)[:, 0].numpy()


def _moved(batch: torch.Tensor) -> torch.Tensor:
    """Turn, scale and shift each slice a little."""
    count = len(batch)
    angle, scale = 0.2 * torch.randn(count), 1 + 0.12 * torch.randn(count, 2)
    matrix = torch.zeros(count, 2, 3)
    matrix[:, 0, 0], matrix[:, 0, 1] = angle.cos() * scale[:, 0], -angle.sin()
    matrix[:, 1, 0], matrix[:, 1, 1] = angle.sin(), angle.cos() * scale[:, 1]
    matrix[:, :, 2] = 0.06 * torch.randn(count, 2)
    return grid_sample(batch, affine_grid(matrix, list(batch.shape), align_corners=False), align_corners=False)


def patients(folder: Path, training: int, testing: int, seed: int) -> tuple[Slices, Slices]:
    """Slices of fresh patients of the phantom."""
    made = generate_prostate_context(folder, training, 0, testing, 0, seed=seed)
    absolute = {
        section: [{k: str(folder / v) if str(v).endswith(".nii.gz") else v for k, v in item.items()} for item in items]
        for section, items in made.items()
    }
    return slices(absolute["training"]), slices(absolute["testing"])


def main() -> None:
    """Print a line for each seed and classifier."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2", help="seeds of the patients")
    parser.add_argument("--training", type=int, default=30, help="training patients")
    parser.add_argument("--testing", type=int, default=30, help="test patients")
    parser.add_argument("--steps", type=int, default=800, help="steps of the U-Net")
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore")
    for seed in map(int, chosen.seeds.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            training, test = patients(Path(folder), chosen.training, chosen.testing, seed)
        probes: dict[str, Callable[[Slices, Slices], Array]] = {
            "pixel": pixel_scores,
            "pixel and local means": local_scores,
            "these and the mirrored place": context_scores,
            "U-Net": partial(unet_scores, steps=chosen.steps),
            "U-Net with the mirror image": partial(unet_scores, steps=chosen.steps, mirror=True),
        }
        for name, probe in probes.items():
            auc, dice = judge(probe(training, test), test)
            print(f"seed {seed}  {name:<29} AUC {auc:.3f}  best Dice {dice:.3f}", flush=True)


if __name__ == "__main__":
    main()
