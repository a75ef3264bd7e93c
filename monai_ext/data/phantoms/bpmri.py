"""Biparametric prostate MRI: T2W, ADC and high-b DWI on two grids, with gland, zones and lesions."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from monai_ext.data.phantoms.cohort import Case, cohort, make_cases
from monai_ext.data.phantoms.pelvis import paint_pelvis
from monai_ext.data.phantoms.prostate import Mask, Offsets, paint_lesion, paint_prostate
from monai_ext.data.phantoms.registry import register_phantom
from monai_ext.data.phantoms.texture import Array, coil_shading, ellipsoid, random_field, rician
from monai_ext.data.phantoms.tissues import Scene, apparent_diffusion, diffusion_signal, t2_signal
from monai_ext.data.phantoms.volume import Grid, rotation, sample, write_nifti

__all__ = ["Protocol", "generate_bpmri", "gland_window", "make_study"]

HalfAxes = tuple[float, float, float]
Masks = dict[str, NDArray[np.uint8]]
Paint = Callable[[Scene, Grid, Offsets, HalfAxes, Generator], Masks]

DWI_SPACING = (2.0, 2.0, 3.0)  # mm
T2_ECHO_TIME, DWI_ECHO_TIME = 100.0, 70.0  # ms
B_LOW, B_HIGH, B_COMPUTED = 50.0, 1000.0, 1500.0  # s/mm2
MARGIN = (8, 8, 2)  # voxels of the scene beyond the T2W image, so that the DWI grid may reach out of it
MIN_LESION_VOXELS = 80


@dataclass(frozen=True)
class Protocol:
    """How a patient is scanned: grids, and noise relative to the signal of a proton density of one.

    Args:
        size: voxels of T2W along both in-plane axes.
        spacing: mm of a T2W voxel in the plane; slices are 3 mm apart.
        slices: fewest slices of T2W, and one more than the most.
        dwi_size: voxels of DWI along both in-plane axes, of 2 mm.
        t2_noise, dwi_noise: standard deviation of the noise.
    """

    size: int = 192
    spacing: float = 0.8
    slices: tuple[int, int] = (18, 21)
    dwi_size: int = 80
    t2_noise: float = 0.012
    dwi_noise: float = 0.012


@register_phantom("bpmri", version=2)
def generate_bpmri(
    directory: Path,
    num_training: int = 2,
    num_validation: int = 2,
    num_testing: int = 2,
    seed: int = 0,
    acquired_b: bool = False,
    noise: float = 1.0,
    counterfactual: bool | str = False,
    lesion_size: float = 1.0,
) -> dict[str, list[dict[str, Any]]]:
    """Write the cases and return the datalist: training in fold 1, validation in fold 0, and testing.

    Every third training case and every second of the others has no lesion. A case depends only on the seed, its section
    and its number, so a larger set begins with the cases of a smaller one.

    Args:
        directory: folder to write to, one subfolder per case, files named as in PI-CAI: ``<id>/<id>_t2w.nii.gz``.
        num_training, num_validation, num_testing: numbers of cases.
        seed: seed of the patients.
        acquired_b: True writes the images at b = 50 and b = 1000 s/mm2 instead of ADC and the computed high-b image.
        noise: factor of the noise level; 0 gives images without noise.
        counterfactual: True also writes each patient with lesion as the same patient without it, in the same anatomy,
            texture and noise: ``<id>_healthy_t2w.nii.gz``, with the key ``healthy_t2w``, and so for each image. What
            an ideal pseudo-healthy reconstruction would be is thus known. A section's name: only those in it.
        lesion_size: factor of the lesions' diameters, which are 8 to 18 mm at 1.
    """

    def make(case: Case) -> None:
        item, name = case.item, case.item["id"]
        lesions = int(case.rng.integers(1, 3)) if case.diseased else 0
        again = copy.deepcopy(case.rng)
        images, grids = make_study(_painter(lesions, lesion_size), case.rng, noise=noise, acquired_b=acquired_b)
        if lesions and counterfactual in (True, case.section):
            healthy, _ = make_study(
                _painter(lesions, lesion_size, healthy=True), again, noise=noise, acquired_b=acquired_b
            )
            masks = ("label", "gland", "zones")
            images |= {f"healthy_{key}": image for key, image in healthy.items() if key not in masks}
            grids |= {f"healthy_{key}": grid for key, grid in grids.items()}
        for key, image in images.items():
            item[key] = f"{name}/{name}_{key}.nii.gz"
            dtype = np.uint8 if image.dtype == np.uint8 else np.int16
            write_nifti(directory / item[key], image, grids[key], dtype)

    return make_cases(cohort("bpmri", seed, num_training, num_validation, num_testing), make)


def _painter(num_lesions: int, size: float, healthy: bool = False) -> Paint:
    """Painter of the gland with lesions, and of their masks.

    A healthy twin takes the same random numbers and leaves the lesions out of the scene, but not out of the masks.
    """

    def paint(scene: Scene, grid: Grid, at: Offsets, half_axes: HalfAxes, rng: Generator) -> Masks:
        box, inner, inner_grid, near = gland_window(scene, grid, at, half_axes)
        prostate = paint_prostate(inner, inner_grid, near, half_axes, rng)
        masks: Masks = {key: np.zeros(grid.shape, dtype=np.uint8) for key in ("label", "gland", "zones")}
        canvas = copy.deepcopy(inner) if healthy else inner  # what is painted on a copy is not seen
        for _ in range(num_lesions):
            lesion: Mask = np.zeros(inner_grid.shape, dtype=bool)
            while np.count_nonzero(lesion) < MIN_LESION_VOXELS:
                lesion = paint_lesion(canvas, inner_grid, near, prostate, rng, size)
            masks["label"][box] |= lesion
        masks["gland"][box] = prostate.level < 1
        masks["zones"][box] = prostate.peripheral + 2 * prostate.transition
        return masks

    return paint


def gland_window(
    scene: Scene, grid: Grid, at: Offsets, half_axes: HalfAxes
) -> tuple[tuple[slice, ...], Scene, Grid, Offsets]:
    """The box around the gland, a small part of the scene, and scene, grid and coordinates in it."""
    x, y, z = at
    box = ndimage.find_objects(ellipsoid(at, (0, 0, 0), half_axes, 3) < 1.2)[0]
    return box, scene.window(box), grid.window(box), (x[box], y[box], z[box])


def make_study(
    paint: Paint,
    rng: Generator,
    protocol: Protocol = Protocol(),
    noise: float = 1.0,
    acquired_b: bool = False,
    warp: float = 2.2,
) -> tuple[dict[str, Any], dict[str, Grid]]:
    """Scan one patient: images and masks by their datalist key, and the grid of each.

    Args:
        paint: ``paint(scene, grid, at, half_axes, rng)`` paints the gland into the pelvis and returns its masks;
            ``at`` are mm from the middle of the gland (left, posterior, up), and ``half_axes`` its half axes in mm.
        rng: random numbers of the patient.
        protocol: grids and image quality.
        noise: factor of the noise level; 0 gives images without noise.
        acquired_b: True gives the images at b = 50 and b = 1000 s/mm2 instead of ADC and the computed high-b image.
        warp: standard deviation, in mm, of the smooth displacement that takes the anatomy out of its ellipsoids.
    """
    tilt = rng.uniform(0, 14)  # oblique slices, across the long axis of the gland
    # Directions in RAS: i runs to the left, j to the posterior, k to the superior, as scanners store axial slices.
    turn = rotation((-tilt, rng.uniform(-1.5, 1.5), 0)) @ np.diag([-1.0, -1.0, 1.0])
    center = rng.uniform((-8, -20, -30), (8, 20, 10))
    size = protocol.size + 2 * MARGIN[0]
    shape = (size, size, int(rng.integers(*protocol.slices)) + 2 * MARGIN[2])
    whole = Grid.centered(shape, (protocol.spacing, protocol.spacing, 3.0), turn, center)
    scene, masks = _make_scene(whole, paint, warp, rng)
    crop = tuple(slice(m, n - m) for m, n in zip(MARGIN, shape))
    t2_grid = whole.window(crop)

    scale = rng.uniform(500, 1100)
    t2w = t2_signal(scene.density, scene.t2, T2_ECHO_TIME) * coil_shading(whole, rng.uniform(0.12, 0.3), rng)
    images: dict[str, Any] = {"t2w": scale * rician(t2w[crop], noise * protocol.t2_noise, rng)}

    turned = rotation((rng.uniform(-2, 2), rng.uniform(-2, 2), rng.uniform(-4, 4))) @ turn
    dwi_shape = (protocol.dwi_size, protocol.dwi_size, shape[2] - 4)
    dwi_grid = Grid.centered(dwi_shape, DWI_SPACING, turned, center + rng.uniform(-4, 4, 3))
    diffusion = _make_diffusion(scene, whole, dwi_grid, protocol, acquired_b, noise, rng)
    images |= diffusion | {key: mask[crop] for key, mask in masks.items()}
    return images, {key: dwi_grid if key in diffusion else t2_grid for key in images}


def _make_scene(grid: Grid, paint: Paint, warp: float, rng: Generator) -> tuple[Scene, Masks]:
    """Tissue maps on ``grid``, and the masks of the gland."""
    half_axes = (rng.uniform(22, 28), rng.uniform(15.5, 20), rng.uniform(17, 23))
    offset = rng.uniform((-5, -7, -2), (5, 3, 3)).tolist()
    # A long-range and a short-range displacement take the geometry out of the ellipsoids.
    x, y, z = (
        c - o + warp * random_field(grid, 22.0, rng) + 0.5 * random_field(grid, (4, 4, 8), rng)
        for c, o in zip(grid.offsets(), offset)
    )
    scene = Scene(grid.shape, "fat")
    paint_pelvis(scene, grid, (x, y, z), half_axes, rng)
    masks = paint(scene, grid, (x, y, z), half_axes, rng)

    fine, coarse = random_field(grid, (1.1, 1.1, 2.0), rng), random_field(grid, (3.0, 3.0, 5.0), rng)
    scene.vary(0.75 * fine + 0.65 * coarse, random_field(grid, (2.0, 2.0, 3.0), rng))
    for values in (scene.t2, scene.adc, scene.density, scene.unsuppressed):
        values[:] = ndimage.gaussian_filter(values, (0.55, 0.55, 0.25), mode="nearest")
    return scene, masks


def _make_diffusion(
    scene: Scene, grid: Grid, target: Grid, protocol: Protocol, acquired_b: bool, noise: float, rng: Generator
) -> dict[str, Array]:
    """Images at b = 50 and 1000 s/mm2, and the ADC map and b = 1500 image that a scanner derives from them."""
    s0 = sample(t2_signal(scene.density * scene.unsuppressed, scene.t2, DWI_ECHO_TIME), grid, target)
    adc = sample(scene.adc, grid, target)
    shading, scale = coil_shading(target, 0.15, rng), rng.uniform(800, 1400)
    low, high = (
        rician(shading * diffusion_signal(s0, adc, b), factor * noise * protocol.dwi_noise, rng)
        for b, factor in ((B_LOW, 1.4), (B_HIGH, 1.0))  # more averages at the high b-value
    )
    if acquired_b:
        return {"b50": scale * low, "b1000": scale * high}
    measured = apparent_diffusion(low, high, B_LOW, B_HIGH)
    computed = diffusion_signal(high, measured, B_COMPUTED - B_HIGH)
    # Scanners leave pixels without signal at zero.
    signal = ndimage.gaussian_filter(low, (0.7, 0.7, 0)) > 4.5 * protocol.dwi_noise
    return {"adc": np.minimum(measured, 4000) * signal, "hbv": scale * computed * signal}
