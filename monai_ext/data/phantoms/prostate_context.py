"""Biparametric prostate MRI in which context decides: benign nodules that look like lesions, in mirror pairs.

Nodules and lesions are made of the same tissue, so that no classifier of voxels can tell them apart. What tells them
apart is around them. A nodule has a twin on the other side of the gland, is round, has a sharp edge with a dark rim,
and keeps to its zone. A lesion has none, is lenticular, fades into its surroundings, and ignores the zones. Both lie in
the same places. Nodules take up two fifths of the gland.

Intensities and noise are set after two real patients, ProstateX-0000 and -0001 (PROSTATEx, Litjens et al. 2017, doi
10.7937/K9TCIA.2017.MURS5CL; gland, zones and lesion by the masks of PI-CAI). In the crop of prostate MAE, 64x64 pixels
and a slice per 3 mm, T2W and high-b as z-score and ADC in 1e-6 mm2/s, they have (mean, standard deviation):

===========  ==========================  ==========================  =====================
region       T2W                         ADC                         high-b
===========  ==========================  ==========================  =====================
crop         .01, .91; .00, 1.09         1038, 735; 1141, 874        .22, .70; -.02, .48
gland        .01, .70; -.38, .39         1460, 310; 1306, 328        1.07, .35; .64, .36
peripheral   .46, .61; -.08, .44         1627, 307; 1407, 472        1.14, .39; .46, .46
transition   -.52, .30; -.54, .23        1266, 167; 1251, 189        1.00, .29; .74, .25
lesion       .04, .19                    1080, 90                    2.44, .16
===========  ==========================  ==========================  =====================

What a Gaussian of one pixel removes in the gland has .16 and .22 of its standard deviation in T2W, .11 and .13 in ADC,
.13 and .08 in high-b. The phantom's means over patients lie between those of the two or near them. Where it differs
most: its transition zone is brighter on T2W (-.25), the fat around the gland too (mean of the crop .5), and its lesions
are less bright on high-b (1.0), as its nodules are, so that high-b varies more in the gland (.45 to .52).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from scipy import ndimage

from monai_ext.data.phantoms.bpmri import HalfAxes, Masks, Paint, Protocol, gland_window, make_study
from monai_ext.data.phantoms.cohort import Case, cohort, make_cases
from monai_ext.data.phantoms.prostate import Mask, Offsets, Prostate, paint_prostate, random_voxel
from monai_ext.data.phantoms.registry import register_phantom
from monai_ext.data.phantoms.texture import Array, ellipsoid, random_field
from monai_ext.data.phantoms.tissues import Scene
from monai_ext.data.phantoms.volume import Grid, write_nifti

__all__ = ["generate_prostate_context"]

PROTOCOL = Protocol(size=168, spacing=0.9, slices=(17, 20), t2_noise=0.014, dwi_noise=0.007)


@register_phantom("prostate_context")
def generate_prostate_context(
    directory: Path,
    num_training: int = 30,
    num_validation: int = 10,
    num_testing: int = 40,
    num_unlabelled: int = 40,
    seed: int = 0,
    noise: float = 1.0,
) -> dict[str, list[dict[str, Any]]]:
    """Write the cases and return the datalist: training in fold 1, validation in fold 0, testing, and unlabelled.

    Items have ``t2w``, ``adc``, ``hbv``, ``label`` (1 = lesion), ``gland``, ``zones`` (1 = peripheral, 2 = transition)
    and ``benign`` (1 = nodule), masks on the grid of T2W; those of the section "unlabelled" lie in fold 1 and have no
    ``label``. Every third training case and every second of the others has no lesion, the others one or two. A case
    depends only on the seed, its section and its number, so a larger set begins with the cases of a smaller one.

    Args:
        directory: folder to write to, one subfolder per case: ``<id>/<id>_{t2w,adc,hbv,label,...}.nii.gz``.
        num_training, num_validation, num_testing, num_unlabelled: numbers of cases.
        seed: seed of the patients.
        noise: factor of the noise level; 0 gives images without noise.
    """

    def make(case: Case) -> None:
        item, name = case.item, case.item["id"]
        lesions = int(case.rng.integers(1, 3)) if case.diseased else 0
        images, grids = make_study(_painter(lesions), case.rng, PROTOCOL, noise, warp=1.2)
        for key, image in images.items():
            if key == "label" and case.section == "unlabelled":
                continue
            item[key] = f"{name}/{name}_{key}.nii.gz"
            write_nifti(directory / item[key], image, grids[key], np.uint8 if image.dtype == np.uint8 else np.int16)

    return make_cases(cohort("context", seed, num_training, num_validation, num_testing, num_unlabelled), make)


def _painter(num_lesions: int) -> Paint:
    """Painter of a symmetric gland with benign pairs and one-sided lesions, and of their masks."""

    def paint(scene: Scene, grid: Grid, at: Offsets, half_axes: HalfAxes, rng: Generator) -> Masks:
        _paint_surroundings(scene, grid, at, half_axes, rng)
        box, inner, inner_grid, near = gland_window(scene, grid, at, half_axes)
        folded = (np.abs(near[0]), near[1], near[2])  # what is painted at x is painted at -x too
        prostate = paint_prostate(inner, inner_grid, folded, half_axes, rng)
        inner.paint(0.5 * prostate.transition, "transition", t2=0.75, adc=1.15)
        inner.paint(0.55 * prostate.peripheral, "peripheral", t2=1.05, adc=1.4)

        gland = prostate.level < 1
        lateral = (prostate.level < 0.9) & (folded[0] > 6)  # a focus in the midline is its own mirror image
        benign, lesions = np.zeros(inner_grid.shape, dtype=bool), np.zeros(inner_grid.shape, dtype=bool)
        share = rng.uniform(0.34, 0.46)
        while np.count_nonzero(benign) < share * np.count_nonzero(gland):
            benign |= _paint_nodule(inner, inner_grid, folded, prostate, lateral, rng)
        for _ in range(num_lesions):
            lesions |= _paint_lesion(inner, inner_grid, near, prostate, lateral & ~benign, rng)

        masks: Masks = {key: np.zeros(grid.shape, dtype=np.uint8) for key in ("label", "gland", "zones", "benign")}
        masks["label"][box] = lesions
        masks["benign"][box] = benign & ~lesions
        masks["gland"][box] = gland
        masks["zones"][box] = prostate.peripheral + 2 * prostate.transition
        return masks

    return paint


def _paint_surroundings(scene: Scene, grid: Grid, at: Offsets, half_axes: HalfAxes, rng: Generator) -> None:
    """The levator ani, which clasps the gland, and fat near the anterior coil, which DWI does not suppress."""
    width, depth, height = half_axes
    clasp = ellipsoid(at, (0, 8, -4), (width + 10, depth + 20, height + 26)) + 0.06 * random_field(grid, (3, 6, 8), rng)
    scene.paint((np.abs(clasp - 1) < 0.13) & (at[1] > -0.6 * depth), "muscle")
    _, anterior, _ = grid.offsets()
    flare = np.clip(1 - (anterior - anterior.min()) / 35, 0, 1) + 0.15 * random_field(grid, 12.0, rng)
    scene.unsuppressed += rng.uniform(0.3, 0.9) * np.clip(flare, 0, 1) * (scene.adc < 400)


def _paint_nodule(scene: Scene, grid: Grid, at: Offsets, prostate: Prostate, where: Mask, rng: Generator) -> Mask:
    """A round benign nodule with sharp edges and a dark rim that keeps to its zone; on folded coordinates, a pair."""
    zone, center = _place(at, prostate, where, rng)
    half, flat = rng.uniform(5, 9.5), rng.uniform(0.8, 1.0)
    level = _lens(at, center, half, flat, rng) + 0.04 * random_field(grid, 4.0, rng)
    scene.paint(rng.uniform(0.4, 0.8) * (zone & (level >= 1) & (level < 1 + 1.8 / half)), "capsule")
    _paint_tissue(scene, grid, (zone & (level < 1)).astype(np.float32), rng)
    return zone & (level < 1)


def _paint_lesion(scene: Scene, grid: Grid, at: Offsets, prostate: Prostate, where: Mask, rng: Generator) -> Mask:
    """A lenticular lesion with ragged, fading edges that ignores the border of the zones."""
    _, center = _place(at, prostate, where, rng)
    level = _lens(at, center, rng.uniform(5, 9), rng.uniform(0.45, 0.65), rng) + 0.16 * random_field(grid, 4.0, rng)
    gland = prostate.level < 1
    _paint_tissue(scene, grid, np.clip((1.25 - level) / 0.5, 0, 1) * gland, rng)
    components, _ = ndimage.label((level < 1) & gland)
    return components == np.argmax(np.bincount(components.ravel())[1:]) + 1


def _place(at: Offsets, prostate: Prostate, where: Mask, rng: Generator) -> tuple[Mask, tuple[float, float, float]]:
    """A zone, and a place in it: the same for lesions and nodules, so that the place says nothing."""
    zone = prostate.peripheral if rng.random() < 0.55 else prostate.transition
    return zone, random_voxel(at, zone & where if (zone & where).any() else zone, rng)


def _lens(at: Offsets, center: tuple[float, float, float], half: float, flat: float, rng: Generator) -> Array:
    """Level of an ellipsoid, turned in the plane; ``half`` is its mean half axis in mm, ``flat`` their ratio."""
    x, y, z = (c - m for c, m in zip(at, center))
    angle = rng.uniform(0, np.pi)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    half_axes = (half / flat**0.5, half * flat**0.5, half * rng.uniform(0.75, 0.95))
    return ellipsoid((x * cos + y * sin, y * cos - x * sin, z), (0, 0, 0), half_axes)


def _paint_tissue(scene: Scene, grid: Grid, weight: Array, rng: Generator) -> None:
    """What a lesion and a nodule are made of: dark on T2W, low in ADC, with remains of the tissue around."""
    sparse = np.clip(1 - 0.28 * np.maximum(random_field(grid, (2.2, 2.2, 3.5), rng), 0), 0.25, 1)
    scene.paint(weight * sparse, "lesion", t2=rng.uniform(0.7, 1.0), adc=rng.uniform(0.85, 1.1))
