"""Head-and-neck PET/CT with cancer of the oropharynx: CT in HU and PET in SUV on two grids, in HECKTOR's naming."""

from __future__ import annotations

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
from monai_ext.data.phantoms.volume import Grid, write_nifti

__all__ = ["generate_hn_petct"]

Offsets = tuple[Array, Array, Array]

SHAPE, CT_SPACING, PET_SPACING = (176, 176, 40), (1.2, 1.2, 3.0), (4.0, 4.0, 4.0)  # mm
CT_NOISE = 14.0  # HU
TUMOR, NODE = 1, 2  # HECKTOR 2022: GTVp and GTVn
MIN_TUMOR_VOXELS = 250

# CT in HU, uptake in SUV, relative spread of the uptake within the tissue.
TISSUES = {
    "air": (-1000, 0.02, 0.5),
    "skin": (10, 0.6, 0.2),
    "fat": (-95, 0.3, 0.3),
    "muscle": (55, 0.9, 0.2),
    "cortical bone": (900, 0.5, 0.2),
    "marrow": (180, 1.3, 0.2),
    "cord": (35, 1.6, 0.1),
    "brain": (38, 7.5, 0.15),
    "mucosa": (50, 1.7, 0.3),
    "tonsil": (58, 4.0, 0.25),
    "parotid": (-10, 1.9, 0.2),
    "submandibular": (45, 2.4, 0.2),
    "thyroid": (95, 1.5, 0.2),
    "vessel": (150, 1.5, 0.05),  # with contrast agent
    "lymph node": (60, 1.4, 0.2),
    "tumor": (72, 9.0, 0.25),
    "necrosis": (28, 1.8, 0.3),
}


@register_phantom("hn_petct", version=1)
def generate_hn_petct(
    directory: Path,
    num_training: int = 3,
    num_validation: int = 2,
    num_testing: int = 2,
    seed: int = 0,
    noise: float = 1.0,
) -> dict[str, list[dict[str, Any]]]:
    """Write the cases and return the datalist: training in fold 1, validation in fold 0, and testing.

    Labels are those of HECKTOR 2022, on the grid of the CT: 1 primary tumor, 2 lymph node metastases. Unlike HECKTOR,
    every third training case and every second of the others has neither. Brain, tonsils and salivary glands take up as
    much tracer as tumors. A case depends only on the seed, its section and its number, so a larger set begins with the
    cases of a smaller one.

    Args:
        directory: folder to write to, one subfolder per case: ``<id>/<id>__{CT,PT}.nii.gz`` and ``<id>/<id>.nii.gz``.
        num_training, num_validation, num_testing: numbers of cases.
        seed: seed of the patients.
        noise: factor of the noise level; 0 gives images without noise.
    """

    def make(case: Case) -> None:
        item, name, rng = case.item, case.item["id"], case.rng
        center = rng.uniform((-20, -20, 500), (20, 20, 700))  # mm, scanner coordinates
        ct_grid = Grid.centered(SHAPE, CT_SPACING, np.diag([-1.0, -1.0, 1.0]), center)
        shape = [int(n * s / p) - 3 for n, s, p in zip(SHAPE, CT_SPACING, PET_SPACING)]
        pet_grid = Grid.centered(
            (shape[0], shape[1], shape[2]), PET_SPACING, np.diag([-1.0, -1.0, 1.0]), center + rng.uniform(-2, 2, 3)
        )
        ct, pet, label = _make_case(ct_grid, pet_grid, case.diseased, noise, rng)
        item |= {
            "ct": f"{name}/{name}__CT.nii.gz",
            "pet": f"{name}/{name}__PT.nii.gz",
            "label": f"{name}/{name}.nii.gz",
        }
        write_nifti(directory / item["ct"], ct, ct_grid, np.int16)
        write_nifti(directory / item["pet"], pet, pet_grid, np.float32)
        write_nifti(directory / item["label"], label, ct_grid, np.uint8)

    return make_cases(cohort("hn", seed, num_training, num_validation, num_testing), make)


def _make_case(
    ct_grid: Grid, pet_grid: Grid, diseased: bool, noise: float, rng: Generator
) -> tuple[Array, Array, NDArray[np.uint8]]:
    """CT, PET and label."""
    # A displacement takes the geometry out of the ellipsoids. Axes: left, posterior, superior.
    x, y, z = (c + 2.0 * random_field(ct_grid, 18.0, rng) for c in ct_grid.offsets())
    body = Body(ct_grid.shape, TISSUES)
    _paint_neck(body, ct_grid, (x, y, z), rng)
    airway = _paint_pharynx(body, (x, y, z), rng)
    label: NDArray[np.uint8] = np.zeros(ct_grid.shape, np.uint8)
    while diseased and np.count_nonzero(label) < MIN_TUMOR_VOXELS:
        label = _place_tumors(ct_grid, (x, y, z), (body.hu > -200) & (body.hu < 170) & ~airway, rng)
    for value in (TUMOR, NODE) if diseased else ():
        uptake = rng.uniform(0.4, 1.3)
        body.paint(label == value, "tumor", uptake)
        distance = ndimage.distance_transform_edt(label == value, sampling=CT_SPACING)
        hollow = rng.uniform(5, 12)  # mm below the surface, where large tumors die
        body.paint((distance > hollow) & (random_field(ct_grid, 5.0, rng) > -0.5), "necrosis", uptake)

    texture = 0.6 * random_field(ct_grid, 4.0, rng) + 0.8 * random_field(ct_grid, 10.0, rng)
    ct = acquire_ct(body, ct_grid, texture, noise * CT_NOISE, rng)
    return ct, acquire_pet(body, ct_grid, pet_grid, texture, noise, rng), label


def _paint_neck(body: Body, grid: Grid, at: Offsets, rng: Generator) -> None:
    """Skin, fat, muscles, bones, cord, vessels, glands, and the base of the brain at the top."""
    x, y, z = at
    girth = rng.uniform(0.92, 1.08)
    rise = np.clip((z + 10) / 60, 0, 1)  # the head is wider than the neck
    width, depth = girth * (62 + 12 * rise), girth * (66 + 22 * rise)
    outline = np.sqrt((x / width) ** 2 + ((y - 4 + 10 * rise) / depth) ** 2)
    body.paint(outline < 1, "skin")
    body.paint(outline < 0.97, "fat")
    strands = random_field(grid, (3.0, 3.0, 9.0), rng)
    for sign in (-1, 1):
        mastoid = ellipsoid((x, y + 0.25 * z, z), (sign * 43, 14, 0), (9, 14, 90))  # sternocleidomastoid
        body.paint(mastoid < 1, "muscle")
        for place, size in (((18, 47), (20, 15)), ((34, 34), (14, 12)), ((13, 25), (9, 7))):
            body.paint((ellipsoid(at, (sign * place[0], place[1], 0), (*size, 90)) < 1) & (strands > -1.3), "muscle")
        body.paint(ellipsoid(at, (sign * 44, -22, 34), (9, 18, 22)) < 1, "muscle")  # masseter
        body.paint(ellipsoid(at, (sign * 52, 2, 26), (10, 15, 20)) < 1, "parotid", rng.uniform(0.7, 1.6))
        body.paint(ellipsoid(at, (sign * 30, -18, -6), (9, 13, 12)) < 1, "submandibular", rng.uniform(0.7, 1.5))
        body.paint(ellipsoid(at, (sign * 19, -10, -48), (9, 10, 14)) < 1, "thyroid", rng.uniform(0.6, 1.8))
        body.paint(ellipsoid(at, (sign * 27, 6, 0), (3.6, 3.6, 200)) < 1, "vessel")  # carotid artery
        body.paint(ellipsoid(at, (sign * 33, 9, 0), (5.5, 4.2, 200)) < 1, "vessel", 0.9)  # jugular vein
        for _ in range(4):
            node = (sign * rng.uniform(30, 42), rng.uniform(-4, 22), rng.uniform(-45, 20))
            body.paint(ellipsoid(at, node, tuple(rng.uniform(2, 4.5, 3))) < 1, "lymph node", rng.uniform(0.6, 1.6))
    gap = np.abs((z + 3) % 18 - 9) > 7.4  # discs between the vertebrae
    body.paint(ellipsoid(at, (0, 24, 0), (13, 11, 200), 2.5) < 1, "cortical bone")
    body.paint(ellipsoid(at, (0, 24, 0), (11, 9, 200), 2.5) < 1, "marrow")
    body.paint((ellipsoid(at, (0, 24, 0), (13, 11, 200), 2.5) < 1) & gap, "muscle", 0.5)
    body.paint((ellipsoid(at, (0, 41, 0), (15, 9, 200), 2.5) < 1) & ~gap, "cortical bone")
    body.paint(ellipsoid(at, (0, 40, 0), (11, 7, 200)) < 1, "fat")
    body.paint(ellipsoid(at, (0, 40, 0), (6.5, 5, 200)) < 1, "cord")
    arch = np.sqrt((x / 44) ** 2 + ((y + 18) / 48) ** 2)
    jaw = (np.abs(z - 12) < 14) & (y < -8)
    body.paint(jaw & (np.abs(arch - 1) < 0.11), "cortical bone")
    body.paint(jaw & (np.abs(arch - 1) < 0.05), "marrow")
    skull = ellipsoid(at, (0, 6, 86), (60, 76, 46))
    body.paint((skull < 1.1) & (outline < 0.95), "cortical bone")
    body.paint((skull < 1) & (outline < 0.95), "brain", rng.uniform(0.7, 1.3))


def _paint_pharynx(body: Body, at: Offsets, rng: Generator) -> Mask:
    """Paint tongue, tonsils, and the airway with its mucosa; return the mask of air."""
    x, _, z = at
    body.paint(ellipsoid(at, (0, -34, 14), (26, 30, 17), 2.4) < 1, "muscle", rng.uniform(0.9, 1.8))  # tongue
    uptake = rng.uniform(0.6, 1.6)
    for sign in (-1, 1):
        size = rng.uniform(0.8, 1.2)
        body.paint(ellipsoid(at, (sign * 18, -2, 16), (6 * size, 8, 12)) < 1, "tonsil", uptake * rng.uniform(0.8, 1.2))
    body.paint(ellipsoid(at, (0, -14, 4), (14, 6, 9)) < 1, "tonsil", 0.8 * uptake)  # lingual tonsil
    larynx = ellipsoid(at, (0, -12, -34), (16, 17, 18))
    body.paint((larynx < 1) & (larynx > 0.8), "marrow", 0.6)  # cartilage
    body.paint(larynx < 0.8, "mucosa")
    wide = 9 + 3 * np.tanh((z - 8) / 12)
    tube = np.sqrt((x / wide) ** 2 + ((at[1] + 2 - 0.12 * np.minimum(z, 0)) / 6.5) ** 2)
    body.paint((tube < 1.45) & (z < 40), "mucosa")
    airway = (tube < 1) & (z < 40)
    body.paint(airway, "air")
    return airway


def _place_tumors(grid: Grid, at: Offsets, tissue: Mask, rng: Generator) -> NDArray[np.uint8]:
    """A primary of a tonsil or the base of the tongue, and up to three lymph node metastases on its side."""
    side = rng.choice((-1, 1))
    site = (side * 17, -3, 14) if rng.random() < 0.6 else (side * 6, -19, 4)
    ragged = 0.25 * random_field(grid, 8.0, rng) + 0.08 * random_field(grid, 3.0, rng)
    primary = ellipsoid(at, site, tuple(rng.uniform(7, 16) * rng.uniform(0.8, 1.25, 3))) + ragged
    label = np.where((primary < 1) & tissue, TUMOR, 0).astype(np.uint8)
    for _ in range(rng.integers(0, 4)):
        place = (side * rng.uniform(34, 42), rng.uniform(-2, 18), rng.uniform(-35, 15))
        node = ellipsoid(at, place, tuple(rng.uniform(5, 13) * rng.uniform(0.8, 1.2, 3))) + 0.4 * ragged
        label[(node < 1) & tissue & (label == 0)] = NODE
    return label
