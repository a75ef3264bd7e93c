"""bpMRI in which context decides: benign foci in mirror pairs look like the lesions, voxel by voxel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from scipy import ndimage

from monai_ext.data.phantoms.bpmri import HalfAxes, Masks, Paint, Protocol, gland_window, make_study
from monai_ext.data.phantoms.cohort import cohort
from monai_ext.data.phantoms.prostate import Mask, Offsets, Prostate, paint_prostate, random_voxel
from monai_ext.data.phantoms.registry import register_phantom
from monai_ext.data.phantoms.texture import ellipsoid, random_field
from monai_ext.data.phantoms.tissues import Scene
from monai_ext.data.phantoms.volume import Grid, write_nifti

__all__ = ["generate_prostate_context"]

PROTOCOL = Protocol(size=168, spacing=0.9, slices=(17, 20), dwi_size=80, t2_noise=0.010, dwi_noise=0.008, dwi_blur=0.4)
MIN_LESION_VOXELS = 60


@register_phantom("prostate_context")
def generate_prostate_context(
    directory: Path,
    num_training: int = 30,
    num_validation: int = 10,
    num_testing: int = 30,
    num_unlabelled: int = 40,
    seed: int = 0,
    noise: float = 1.0,
) -> dict[str, list[dict[str, Any]]]:
    """Write the cases and return the datalist."""
    datalist: dict[str, list[dict[str, Any]]] = {"training": [], "testing": [], "unlabelled": []}
    for case in cohort("context", seed, num_training, num_validation, num_testing, num_unlabelled):
        item, name = case.item, case.item["id"]
        lesions = int(case.rng.integers(1, 3)) if case.diseased else 0
        images, grids = make_study(_painter(lesions), case.rng, PROTOCOL, noise)
        for key, image in images.items():
            if key == "label" and case.section == "unlabelled":
                continue
            item[key] = f"{name}/{name}_{key}.nii.gz"
            write_nifti(directory / item[key], image, grids[key], np.uint8 if image.dtype == np.uint8 else np.int16)
        datalist[case.section].append(item)
    return datalist


def _painter(num_lesions: int) -> Paint:
    """Painter of a symmetric gland with benign pairs and one-sided lesions, and of their masks."""

    def paint(scene: Scene, grid: Grid, at: Offsets, half_axes: HalfAxes, rng: Generator) -> Masks:
        _paint_surroundings(scene, grid, at, half_axes, rng)
        box, inner, inner_grid, near = gland_window(scene, grid, at, half_axes)
        folded = (np.abs(near[0]), near[1], near[2])  # what is painted at x is painted at -x too
        prostate = paint_prostate(inner, inner_grid, folded, half_axes, rng)
        inner.paint(0.5 * prostate.transition, "transition", t2=0.85, adc=1.1)
        inner.paint(0.55 * prostate.peripheral, "peripheral", t2=1.05, adc=1.35)
        free = (prostate.level < 0.9) & (folded[0] > 6)
        benign: Mask = np.zeros(inner_grid.shape, dtype=bool)
        share = rng.uniform(0.34, 0.46)
        while np.count_nonzero(benign) < share * np.count_nonzero(prostate.level < 1):
            benign |= _paint_focus(inner, inner_grid, folded, prostate, free, rng, benign=True)
        lesions: Mask = np.zeros(inner_grid.shape, dtype=bool)
        for _ in range(num_lesions):
            lesions |= _paint_focus(inner, inner_grid, near, prostate, free & ~benign, rng, benign=False)
        masks = {key: np.zeros(grid.shape, dtype=np.uint8) for key in ("label", "gland", "zones", "benign")}
        masks["label"][box] = lesions
        masks["benign"][box] = benign & ~lesions
        masks["gland"][box] = prostate.level < 1
        masks["zones"][box] = prostate.peripheral + 2 * prostate.transition
        return masks

    return paint


def _paint_surroundings(scene: Scene, grid: Grid, at: Offsets, half_axes: HalfAxes, rng: Generator) -> None:
    """The levator ani, which clasps the gland, and fat near the anterior coil, which DWI does not suppress."""
    width, depth, height = half_axes
    y = at[1]
    clasp = ellipsoid(at, (0, 8, -4), (width + 10, depth + 20, height + 26)) + 0.06 * random_field(grid, (3, 6, 8), rng)
    scene.paint((np.abs(clasp - 1) < 0.13) & (y > -0.6 * depth), "muscle")
    _, anterior, _ = grid.offsets()
    flare = np.clip(1 - (anterior - anterior.min()) / 35, 0, 1) + 0.15 * random_field(grid, 12.0, rng)
    scene.unsuppressed += rng.uniform(0.15, 0.7) * np.clip(flare, 0, 1) * (scene.adc < 400)


def _paint_focus(
    scene: Scene, grid: Grid, at: Offsets, prostate: Prostate, free: Mask, rng: Generator, benign: bool
) -> Mask:
    peripheral = rng.random() < 0.55
    zone = prostate.peripheral if peripheral else prostate.transition
    center = random_voxel(at, zone & free if (zone & free).any() else zone, rng)
    half, angle = rng.uniform(5, 9.5), rng.uniform(0, np.pi)
    x, y, z = (c - m for c, m in zip(at, center))
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    flat = rng.uniform(0.8, 1.0) if benign else rng.uniform(0.45, 0.65)  # round nodules, lenticular lesions
    axes = (half / np.sqrt(flat), half * np.sqrt(flat), half * rng.uniform(0.75, 0.95))
    level = ellipsoid((x * cos + y * sin, y * cos - x * sin, z), (0, 0, 0), axes)
    ragged = random_field(grid, 4.0, rng)
    if benign:
        level, inside = level + 0.04 * ragged, zone
        scene.paint(rng.uniform(0.4, 0.8) * (zone & (level >= 1) & (level < 1 + 1.8 / half)), "capsule")
        weight = (zone & (level < 1)).astype(np.float32)
    else:
        level, inside = level + 0.16 * ragged, prostate.level < 1
        weight = np.clip((1.25 - level) / 0.5, 0, 1) * inside
    sparse = np.clip(1 - 0.28 * np.maximum(random_field(grid, (2.2, 2.2, 3.5), rng), 0), 0.25, 1)
    scene.paint(weight * sparse, "lesion", t2=rng.uniform(0.7, 1.0), adc=rng.uniform(0.85, 1.1))
    found = (level < 1) & inside
    if benign:
        return found
    components, count = ndimage.label(found)
    return components == np.argmax(np.bincount(components.ravel())[1:]) + 1 if count else found
