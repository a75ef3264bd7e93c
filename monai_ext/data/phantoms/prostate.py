"""The prostate of the bpMRI phantom: gland, zones, benign nodules and inflammation, and lesions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from monai_ext.data.phantoms.texture import Array, ellipsoid, random_field
from monai_ext.data.phantoms.tissues import Scene
from monai_ext.data.phantoms.volume import Grid

__all__ = ["Mask", "Offsets", "Prostate", "paint_lesion", "paint_prostate", "random_voxel"]

Offsets = tuple[Array, Array, Array]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Prostate:
    """``level`` of the gland (below 1 inside), and masks of the peripheral and the transition zone."""

    level: Array
    peripheral: Mask
    transition: Mask


def paint_prostate(
    scene: Scene, grid: Grid, at: Offsets, half_axes: tuple[float, float, float], rng: Generator
) -> Prostate:
    """Paint a gland with an enlarged, nodular transition zone; ``at`` are mm from its middle (left, posterior, up)."""
    x, y, z = at
    width, depth, height = half_axes
    taper = 1 + 0.22 * np.clip(z / height, -1, 0.3)  # narrower at the apex
    groove = 0.16 * depth * np.exp(-((x / (0.4 * width)) ** 2)) * (y > 0)  # the midline of the posterior surface
    level = ellipsoid((x / taper, (y + groove) / taper, z), (0, 0, 0), half_axes, 2.3)

    growth = rng.uniform(0.42, 0.56)
    lobes = [
        ellipsoid(
            at,
            (side * 0.34 * width, rng.uniform(-0.3, -0.18) * depth, 0.1 * height),
            (growth * width, rng.uniform(0.52, 0.68) * depth, rng.uniform(0.7, 0.82) * height),
        )
        for side in (-1, 1)
    ]
    lobe = np.minimum(*lobes)
    stroma = (y < -0.5 * depth + 0.02 * x**2) & (np.abs(x) < 0.5 * width)
    gland = level < 1
    transition = gland & ((lobe < 1) & (level < 0.95) | stroma)
    peripheral = gland & ~transition

    scene.paint(gland, "peripheral", t2=rng.uniform(0.85, 1.15))
    _paint_peripheral(scene, grid, at, half_axes, peripheral, rng)
    scene.paint(transition, "transition")
    _paint_nodules(scene, at, transition & ~stroma, rng)
    scene.paint(gland & stroma, "stroma")
    scene.paint(gland & (np.abs(lobe - 1) < 0.05) & ~stroma, "capsule")
    scene.paint(gland & (level > 0.95), "capsule", t2=1.1)
    duct = np.hypot(x, y + 0.08 * depth - 0.1 * z)
    scene.paint(gland & (duct < 4.2), "stroma", t2=1.1)
    scene.paint(gland & (duct < 2.2), "urethra")
    return Prostate(level, peripheral, transition)


def _paint_peripheral(
    scene: Scene, grid: Grid, at: Offsets, half_axes: tuple[float, float, float], peripheral: Mask, rng: Generator
) -> None:
    """The central zone at the base, septa, and inflammation: dark on T2, ADC only mildly lower."""
    width, depth, height = half_axes
    central = ellipsoid(at, (0, 0.42 * depth, 0.78 * height), (0.5 * width, 0.4 * depth, 0.32 * height))
    scene.paint(peripheral & (central < 1), "central")
    septa = np.abs(random_field(grid, (2.0, 2.5, 4.0), rng)) < 0.16
    scene.paint(0.5 * (peripheral & septa), "prostatitis")
    for _ in range(rng.integers(2, 5)):
        center = random_voxel(at, peripheral, rng)
        blob = ellipsoid(at, center, (rng.uniform(4, 9), rng.uniform(4, 8), rng.uniform(4, 9)))
        blob = blob + 0.25 * random_field(grid, 5.0, rng)
        weight = np.clip((1.2 - blob) / 0.4, 0, 1) * rng.uniform(0.6, 1.0)
        scene.paint(weight * peripheral, "prostatitis", adc=rng.uniform(0.82, 1.1))
    scene.paint(peripheral & (random_field(grid, (2.5, 2.5, 3.5), rng) > 2.3), "cyst", t2=0.7)


def _paint_nodules(scene: Scene, at: Offsets, transition: Mask, rng: Generator) -> None:
    """Benign hyperplasia: round nodules with a dark rim, from bright and glandular to dark and stromal."""
    names = ["glandular nodule", "mixed nodule", "stromal nodule"]
    for _ in range(rng.integers(18, 30)):
        center, radius = random_voxel(at, transition, rng), rng.uniform(2.5, 7.0)
        squeeze = rng.uniform(0.75, 1.0, size=3).tolist()
        nodule = ellipsoid(at, center, (radius * squeeze[0], radius * squeeze[1], radius * squeeze[2] + 1))
        name = names[rng.choice(3, p=[0.4, 0.35, 0.25])]
        scene.paint(transition & (nodule < 1 + 0.9 / radius), "capsule", t2=1.15)
        scene.paint(transition & (nodule < 1), name, t2=rng.uniform(0.85, 1.15), adc=rng.uniform(0.87, 1.1))


def paint_lesion(scene: Scene, grid: Grid, at: Offsets, prostate: Prostate, rng: Generator, size: float = 1.0) -> Mask:
    """Paint one irregular lesion of ``size`` times 8 to 18 mm and return its mask; seven of ten are peripheral.

    It is dark on T2 and low in ADC, by an amount that overlaps with stromal nodules and inflammation, fades at its
    edge and holds remains of the tissue around it.
    """
    zone = prostate.peripheral if rng.random() < 0.7 else prostate.transition
    inner = zone & (prostate.level < 0.85)
    center = random_voxel(at, inner if inner.any() else zone, rng)
    half = size * rng.uniform(8, 18) / 2
    angle = rng.uniform(0, np.pi)
    x, y, z = (c - m for c, m in zip(at, center))
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    turned = (x * cos + y * sin, y * cos - x * sin, z)
    level = ellipsoid(turned, (0, 0, 0), (half, half * rng.uniform(0.65, 0.95), half * rng.uniform(0.65, 0.95)))
    level = level + 0.14 * random_field(grid, 4.0, rng)
    weight = np.clip((1.2 - level) / 0.4, 0, 1) * (prostate.level < 1)
    sparse = np.clip(1 - 0.28 * np.maximum(random_field(grid, (2.2, 2.2, 3.5), rng), 0), 0.25, 1)
    scene.paint(weight * sparse, "lesion", t2=rng.uniform(0.9, 1.15), adc=rng.uniform(0.85, 1.12))
    components, count = ndimage.label((level < 1) & (prostate.level < 1))
    if count == 0:
        return np.zeros(grid.shape, dtype=bool)
    return components == np.argmax(np.bincount(components.ravel())[1:]) + 1


def random_voxel(at: Offsets, where: Mask, rng: Generator) -> tuple[float, float, float]:
    """Coordinates (mm) of a voxel drawn uniformly from a mask."""
    index = np.flatnonzero(where)[rng.integers(np.count_nonzero(where))]
    x, y, z = (float(np.broadcast_to(c, where.shape).flat[index]) for c in at)
    return x, y, z
