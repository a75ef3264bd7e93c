"""The surroundings of the prostate: muscles, bones, bladder, rectum, vessels, as ellipsoids on warped coordinates.

Coordinates are mm from the middle of the gland: x to the left, y to the posterior, z to the superior.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from monai_ext.data.phantoms.texture import Array, ellipsoid, random_field
from monai_ext.data.phantoms.tissues import Scene
from monai_ext.data.phantoms.volume import Grid

__all__ = ["paint_pelvis"]

Offsets = tuple[Array, Array, Array]


def paint_pelvis(scene: Scene, grid: Grid, at: Offsets, half_axes: tuple[float, float, float], rng: Generator) -> None:
    """Paint all except the prostate; ``half_axes`` are those of the gland, which bladder and rectum adjoin."""
    _paint_walls(scene, grid, at, rng)
    _paint_bones(scene, at, rng)
    _paint_rectum(scene, grid, at, half_axes[1], rng)
    _paint_bladder(scene, grid, at, half_axes, rng)
    _paint_veins(scene, grid, at, half_axes)


def _paint_walls(scene: Scene, grid: Grid, at: Offsets, rng: Generator) -> None:
    x, y, z = at
    width = rng.uniform(0.9, 1.1)
    septa = np.abs(random_field(grid, (7, 3, 9), rng)) < 0.05
    scene.paint(0.45 * septa, "muscle")
    streaks = 0.12 * random_field(grid, (6, 2, 8), rng)  # fat between the bundles of the large muscles
    for side in (-1, 1):
        bowed = (x - side * width * (46 - 0.006 * (y - 5) ** 2), y, z)  # obturator internus
        scene.paint(ellipsoid(bowed, (0, 4, 0), (7.5, 37, 70), 2.4) + 0.4 * streaks < 1, "muscle")
        sloping = (x - side * 52 * width, y - 66 + 0.45 * (np.abs(x) - 40), z)
        gluteus = ellipsoid(sloping, (0, 0, 0), (42, 17, 90), 2.5)  # gluteus maximus
        scene.paint(gluteus + 0.5 * streaks < 1, "muscle")
        scene.paint(0.5 * ((gluteus < 0.95) & (streaks > 0.16)), "fat")
        scene.paint(ellipsoid(at, (side * 17, -66, 10), (17, 6, 60), 2.4) + streaks < 1, "muscle")  # rectus abdominis
        scene.paint(ellipsoid(at, (side * 60, -48, -5), (22, 10, 60), 2.2) + streaks < 1, "muscle", t2=1.1)  # pectineus
        for place in ((50, -63), (60, -60)):  # femoral vessels
            tissue = "artery" if place[0] > 55 else "vein"
            scene.paint(ellipsoid(at, (side * place[0], place[1], 0), (5, 4.5, 200)) < 1, tissue)
    levator = ellipsoid(at, (0, 15, -8), (31 * width, 37, 46)) + 0.3 * streaks
    scene.paint((np.abs(levator - 1) < 0.05) & (y > -12) & (z < 12), "muscle")


def _paint_bones(scene: Scene, at: Offsets, rng: Generator) -> None:
    x, y, z = at
    bones = []
    for side in (-1, 1):
        angle = side * np.deg2rad(rng.uniform(16, 24))
        cos, sin = float(np.cos(angle)), float(np.sin(angle))
        along = (x - side * 27) * cos + (y + 44) * sin
        across = -(x - side * 27) * sin + (y + 44) * cos
        bones.append(ellipsoid((along, across, z), (0, 0, -18), (25, 8.5, 24), 3))  # pubis
        bones.append(ellipsoid(at, (side * 68, 4, 0), (13, 27, 90), 3))  # acetabulum and ischium
        bones.append(ellipsoid(at, (side * 90, -12, 14), (25, 24, 26)))  # femoral head
    bones.append(ellipsoid(at, (0, 62, 0), (9, 5.5, 90), 2.5))  # coccyx
    scene.paint((np.abs(x) < 5) & (np.abs(y + 47) < 10) & (np.abs(z + 18) < 22), "cartilage")  # symphysis
    for bone in bones:
        scene.paint(bone < 1, "cortex")
        scene.paint(bone < 0.9, "marrow", t2=rng.uniform(0.9, 1.15))


def _paint_rectum(scene: Scene, grid: Grid, at: Offsets, depth: float, rng: Generator) -> None:
    _, _, z = at
    radius = rng.uniform(11, 16)
    flat = rng.uniform(0.75, 0.95)
    tube = ellipsoid(at, (rng.uniform(-4, 4), depth + 2 + flat * radius, 0), (radius, flat * radius, 1e4), 2.2)
    tube = tube * (1 + 0.12 * (z / 30) ** 2)
    folds = 0.07 * random_field(grid, (4, 4, 8), rng)
    scene.paint(tube < 1, "wall")
    scene.paint((tube + folds < 0.84) & (tube + folds > 0.7), "wall", t2=1.7)  # mucosa
    content = random_field(grid, (5, 5, 9), rng) > rng.uniform(-0.8, 0.8)
    scene.paint((tube + folds < 0.72) & content, "stool")
    scene.paint((tube + folds < 0.72) & ~content, "gas")


def _paint_bladder(
    scene: Scene, grid: Grid, at: Offsets, half_axes: tuple[float, float, float], rng: Generator
) -> None:
    width, depth, height = half_axes
    size = (rng.uniform(27, 36), rng.uniform(20, 26), rng.uniform(16, 22))
    bladder = ellipsoid(at, (0, -9, height + 0.62 * size[2]), size, 2.2)
    scene.paint(bladder < 1, "wall")
    scene.paint(bladder < 1 - 3.5 / size[2], "urine")
    tubules = random_field(grid, (2.2, 1.6, 3.5), rng)
    for side in (-1, 1):
        vesicle = ellipsoid(at, (side * 0.6 * width, 0.55 * depth, height + 3), (0.62 * width, 5, 7.5))
        scene.paint((vesicle < 1) & (bladder > 1), "wall")
        scene.paint((vesicle < 0.93) & (bladder > 1.02) & (tubules > -0.35), "vesicle")


def _paint_veins(scene: Scene, grid: Grid, at: Offsets, half_axes: tuple[float, float, float]) -> None:
    _, y, z = at
    rng = np.random.default_rng(int(half_axes[0] * 1e6))  # the plexus does not shift the draws of what follows
    plexus = ellipsoid(at, (0, -3, 0), (half_axes[0] + 6, half_axes[1] + 9, half_axes[2] + 4))
    gland = ellipsoid(at, (0, 0, 0), half_axes)
    inside = (plexus < 1) & (gland > 1) & (y < 0.5 * half_axes[1]) & (z < 0.8 * half_axes[2])
    speckle = random_field(grid, (1.8, 1.8, 6), rng)
    scene.paint(inside & (speckle > 0.5), "vein")
    scene.paint(inside & (speckle < -0.9), "wall")
