"""Whole-body FDG PET/CT from the skull to the thighs: PET in SUV, CT in HU on a finer grid, and lesions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from monai_ext.data.phantoms.body import Body, Mask, acquire_ct, acquire_pet
from monai_ext.data.phantoms.cohort import Case, cohort, make_cases
from monai_ext.data.phantoms.registry import register_phantom
from monai_ext.data.phantoms.texture import Array, ellipsoid, random_field
from monai_ext.data.phantoms.torso import ORGANS, Torso, torso_tissues
from monai_ext.data.phantoms.volume import Grid, sample, write_nifti

__all__ = ["generate_petct"]

EXTENT = (390.0, 293.0, 640.0)  # mm, of the PET; the CT is a little larger
PET_TO_CT = 1.35  # voxel size of the PET in the plane, relative to that of the CT
CT_NOISE = 14.0  # HU
MIDDLE = 52.0  # mm, of the scan above the first lumbar vertebra
MIN_LESION_VOXELS = 6  # of the PET

# As in torso.py, but with the contrast agent in: CT in HU, uptake in SUV, relative spread of the uptake.
HEAD = {"brain": (40.0, 9.0, 0.15), "gland": (60.0, 3.0, 0.3), "mucosa": (45.0, 2.4, 0.4)}
LESIONS = {"lesion": (62.0, 6.0, 0.25), "sclerosis": (480.0, 5.0, 0.3), "necrosis": (25.0, 0.9, 0.3)}

# Lymph nodes, in mm from the first lumbar vertebra to the left, posterior and superior; beside them lie heart, kidneys,
# bladder, and vessels.
NODES = [(0, 2, 140), (-16, -4, 128), (14, 12, 118), (112, -6, 178), (-112, -6, 178), (26, 28, -30), (-4, 12, 6)]
NODES += [
    (38, 18, -118),
    (-38, 18, -118),
    (74, -62, -190),
    (-74, -62, -190),
    (34, 6, 245),
    (-36, 4, 240),
    (36, 8, -145),
]
HOSTS = {"liver": 0.2, "lung": 0.25, "vertebrae": 0.25, "pancreas": 0.1, "stomach": 0.1, "spleen": 0.1}


@register_phantom("petct", version=2)
def generate_petct(
    directory: Path,
    num_training: int = 3,
    num_validation: int = 2,
    num_testing: int = 2,
    num_unlabelled: int = 0,
    size: Sequence[int] = (96, 72, 128),
    seed: int = 0,
    noise: float = 1.0,
    lesion_size: float = 1.0,
    lesion_uptake: float = 1.0,
) -> dict[str, list[dict[str, Any]]]:
    """Write the cases and return the datalist: training in fold 1, validation in fold 0, testing, and unlabelled.

    Items have ``pet`` (SUV), ``ct`` (HU, another grid) and ``label`` (1 = lesion) on the grid of the PET; those of the
    section "unlabelled" lie in fold 1 and have no ``label``. Brain, heart, kidneys, bladder and bowel take up the
    tracer as much as lesions do, or more; lesions are lymph nodes, metastases of lung, liver and bone, and tumors of
    the gut. Every third training case and every second of the others has none. A case depends only on the seed, its
    section and its number, so a larger set begins with the cases of a smaller one.

    Args:
        directory: folder to write to: ``<id>/<id>_{pet,ct,seg}.nii.gz``.
        num_training, num_validation, num_testing, num_unlabelled: numbers of cases.
        size: voxels of the PET along x, y, z, which always cover about 390 x 293 x 640 mm. The voxels of the CT are
            cubes, smaller by a third.
        seed: seed of the patients.
        noise: factor of the noise level; 0 gives images without noise.
        lesion_size: factor of the lesions' radii, which are 5 to 20 mm at 1.
        lesion_uptake: factor of the lesions' SUV, which is 3 to 14 at 1, as that of organs that take up the tracer.
    """
    turn = np.diag([-1.0, -1.0, 1.0])

    def make(case: Case) -> None:
        item, rng = case.item, case.rng
        center = rng.uniform((-15, -15, -900), (15, 15, -700))  # mm, scanner coordinates
        in_plane = EXTENT[0] / size[0] * rng.uniform(0.98, 1.04)
        spacing = (in_plane, in_plane, EXTENT[2] / size[2] * rng.uniform(0.92, 1.02))
        pet_grid = Grid.centered((size[0], size[1], size[2]), spacing, turn, center + rng.uniform(-2, 2, 3))
        fine = EXTENT[0] / size[0] / PET_TO_CT  # mm
        x, y, z = (int(np.ceil(n * s / fine)) + 4 for n, s in zip(size, spacing))
        ct_grid = Grid.centered((x, y, z), (fine, fine, fine), turn, center)
        ct, pet, label = _make_case(ct_grid, pet_grid, case.diseased, noise, lesion_size, lesion_uptake, rng)
        files: dict[str, tuple[str, NDArray[Any], Grid, type[np.generic]]] = {
            "pet": ("pet", pet, pet_grid, np.float32),
            "ct": ("ct", ct, ct_grid, np.int16),
            "label": ("seg", label, pet_grid, np.uint8),
        }
        for key, (suffix, image, grid, dtype) in files.items():
            if key != "label" or case.section != "unlabelled":
                item[key] = f"{item['id']}/{item['id']}_{suffix}.nii.gz"
                write_nifti(directory / item[key], image, grid, dtype)

    return make_cases(cohort("petct", seed, num_training, num_validation, num_testing, num_unlabelled), make)


def _make_case(
    ct_grid: Grid,
    pet_grid: Grid,
    diseased: bool,
    noise: float,
    lesion_size: float,
    lesion_uptake: float,
    rng: Generator,
) -> tuple[Array, Array, NDArray[np.uint8]]:
    """CT, PET and label."""
    # A displacement takes the geometry out of the ellipsoids. Axes: left, posterior, superior.
    shift = (rng.uniform(-6, 6), rng.uniform(-6, 6), MIDDLE + rng.uniform(-10, 10))
    x, y, z = (c + s + 4.0 * random_field(ct_grid, 32.0, rng) for c, s in zip(ct_grid.offsets(), shift))
    body = Body(ct_grid.shape, {**torso_tissues(rng), **HEAD, **LESIONS})
    torso = Torso(body, ct_grid, (x, y, z), rng)
    torso.paint()
    _paint_legs(torso)
    _paint_head(torso)
    label: NDArray[np.uint8] = np.zeros(pet_grid.shape, np.uint8)
    if diseased:
        ragged = 0.15 * random_field(ct_grid, 8.0, rng)
        wanted = int(rng.integers(1, 8))
        while wanted:
            lesion = _place_lesion(torso, ragged, lesion_size)
            seen = sample(lesion.astype(np.float32), ct_grid, pet_grid) > 0.5
            if np.count_nonzero(seen) >= MIN_LESION_VOXELS:
                _paint_lesion(torso, lesion, lesion_uptake)
                label[seen] = 1
                wanted -= 1
    texture = 0.6 * random_field(ct_grid, 5.0, rng) + 0.8 * random_field(ct_grid, 12.0, rng)
    ct = acquire_ct(body, ct_grid, texture, noise * CT_NOISE, rng)
    return ct, acquire_pet(body, ct_grid, pet_grid, texture, noise, rng), label


def _paint_legs(torso: Torso) -> None:
    """Two thighs in the place of the lower end of the trunk."""
    z = torso.at[2]
    thigh = np.minimum(*(ellipsoid(torso.at, (side * 84.0, 0.0, -400.0), (74, 84, 9e4)) for side in (-1, 1)))
    torso.fill((z < -205) & (thigh > 1), "air")
    torso.fill((z < -205) & (thigh < 1) & (thigh > 0.86), "fat")


def _paint_head(torso: Torso) -> None:
    """Neck with larynx and airway, skull, brain, and the glands of mouth and neck."""
    body, rng, z = torso.body, torso.rng, torso.at[2]
    neck = (torso.blob((0, 12, 250), (58, 62, 9e4)) < 1) & (z > 225) & (z < 300)
    head = torso.blob((0, 0, 320), (76, 94, 84), 2.2)
    torso.fill(neck | (head < 1), "skin")
    torso.fill((neck & (torso.blob((0, 12, 250), (53, 57, 9e4)) < 1)) | (head < 0.93), "muscle")
    skull = torso.blob((0, 6, 332), (68, 84, 66))
    torso.fill(skull < 1, "cortical bone")
    torso.fill(skull < 0.9, "brain", uptake=rng.uniform(0.7, 1.4))
    torso.fill((torso.blob((0, 50, 250), (20, 18, 9e4)) < 1) & (z > 220) & (z < 285), "marrow")
    for side in (-1, 1):
        torso.fill(torso.blob((side * 50, 0, 275), (10, 14, 18)) < 1, "gland", uptake=rng.uniform(0.4, 1.3))
        torso.fill(torso.blob((side * 16, -8, 276), (8, 9, 11)) < 1, "mucosa", uptake=rng.uniform(0.6, 2.0))
    throat = torso.blob((0, -12, 250), (15, 14, 9e4))
    torso.fill((throat < 1) & (z > 225) & (z < 280), "mucosa", uptake=rng.uniform(0.5, 1.2))
    airway = (torso.blob((0, -12, 250), (8, 7, 9e4)) < 1) & (z > 140) & (z < 285)
    body.paint(airway, "air")
    torso.label[airway] = 0


def _place_lesion(torso: Torso, ragged: Array, size: float) -> Mask:
    """A lymph node, or a lesion in one of the organs, as a mask on the grid of the CT."""
    rng = torso.rng
    host = "" if rng.random() < 0.5 else rng.choice(list(HOSTS), p=list(HOSTS.values()))
    inside = torso.label == next((number for number, name in ORGANS.items() if name == host), 0)
    if host and inside.any():
        voxel = np.unravel_index(rng.choice(np.flatnonzero(inside)), inside.shape)
        center = tuple(float(a[voxel]) for a in torso.at)
        radius = rng.uniform(6, 11) if host == "lung" else rng.uniform(7, 20)
    else:
        center = tuple(float(v) for v in NODES[rng.integers(len(NODES))] + rng.uniform(-7, 7, 3))
        radius = rng.uniform(5, 12)
    x, y, z = size * radius * rng.uniform(0.75, 1.3, 3)
    level = torso.blob((center[0], center[1], center[2]), (x, y, z)) + ragged
    here = (level < 1) & (torso.outline < 0.95)
    return here & inside if host in ("liver", "spleen", "vertebrae") else here


def _paint_lesion(torso: Torso, where: Mask, factor: float) -> None:
    """Uptake from the liver's to that of the kidneys, times a factor; large ones are hollow, some of bone are dense."""
    rng = torso.rng
    uptake = factor * float(np.exp(rng.uniform(np.log(0.5), np.log(2.4))))
    bone = torso.label[where].max(initial=0) == 8
    torso.fill(where, "sclerosis" if bone and rng.random() < 0.6 else "lesion", uptake=uptake)
    box = ndimage.find_objects(where)[0]
    hollow = np.zeros(where.shape, bool)
    spacing = np.linalg.norm(torso.grid.affine[:3, :3], axis=0)
    depth = ndimage.distance_transform_edt(np.pad(where[box], 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    hollow[box] = depth > rng.uniform(8, 14)
    torso.fill(hollow, "necrosis", uptake=uptake)
