"""CT of the abdomen with parts of chest and pelvis, in HU, and the labels of ten organs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from monai_ext.data.phantoms.body import Body, acquire_ct
from monai_ext.data.phantoms.cohort import Case, cohort, make_cases
from monai_ext.data.phantoms.registry import register_phantom
from monai_ext.data.phantoms.texture import Array, random_field
from monai_ext.data.phantoms.torso import ORGANS, Torso, torso_tissues
from monai_ext.data.phantoms.volume import Grid, write_nifti

__all__ = ["CT_ORGANS", "generate_ct_multiorgan"]

CT_ORGANS = ORGANS  # label values; 0 is background

EXTENT = (350.0, 290.0, 360.0)  # mm, of the usual field of view
NOISE = 16.0  # HU


@register_phantom("ct_multiorgan", version=2)
def generate_ct_multiorgan(
    directory: Path,
    num_training: int = 4,
    num_validation: int = 2,
    num_testing: int = 2,
    num_unlabelled: int = 4,
    size: Sequence[int] = (128, 112, 112),
    seed: int = 0,
    noise: float = 1.0,
) -> dict[str, list[dict[str, Any]]]:
    """Write the cases and return the datalist: training in fold 1, validation in fold 0, testing, and unlabelled.

    Items have ``image`` (HU) and ``label`` (:data:`CT_ORGANS`) on one grid; those of the section "unlabelled" lie in
    fold 1 and have no ``label``. Voxel sizes and the height of the scan differ between cases, so the bladder or the
    tops of the lungs may be cut. Contrast agent varies from none to plenty; bowel and muscle are as bright as organs. A
    case depends only on the seed, its section and its number, so a larger set begins with the cases of a smaller one.

    Args:
        directory: folder to write to: ``<id>/<id>_{ct,seg}.nii.gz``.
        num_training, num_validation, num_testing, num_unlabelled: numbers of cases.
        size: voxels along x, y, z, which always cover about 350 x 290 x 360 mm.
        seed: seed of the patients.
        noise: factor of the noise level; 0 gives images without noise.
    """

    def make(case: Case) -> None:
        item, rng = case.item, case.rng
        in_plane = EXTENT[0] / size[0] * rng.uniform(0.94, 1.1)
        spacing = (in_plane, in_plane, EXTENT[2] / size[2] * rng.uniform(0.85, 1.1))
        center = rng.uniform((-20, -20, -300), (20, 20, 300))  # mm, scanner coordinates
        grid = Grid.centered((size[0], size[1], size[2]), spacing, np.diag([-1.0, -1.0, 1.0]), center)
        image, label = _make_case(grid, noise, rng)
        item["image"] = f"{item['id']}/{item['id']}_ct.nii.gz"
        write_nifti(directory / item["image"], image, grid, np.int16)
        if case.section != "unlabelled":
            item["label"] = f"{item['id']}/{item['id']}_seg.nii.gz"
            write_nifti(directory / item["label"], label, grid, np.uint8)

    return make_cases(cohort("ct", seed, num_training, num_validation, num_testing, num_unlabelled), make)


def _make_case(grid: Grid, noise: float, rng: Generator) -> tuple[Array, Any]:
    """CT in HU, and label."""
    # A displacement takes the geometry out of the ellipsoids. Axes: left, posterior, superior.
    shift = (rng.uniform(-6, 6), rng.uniform(-6, 6), rng.uniform(-12, 18))
    x, y, z = (c + s + 4.0 * random_field(grid, 32.0, rng) for c, s in zip(grid.offsets(), shift))
    body = Body(grid.shape, torso_tissues(rng))
    torso = Torso(body, grid, (x, y, z), rng)
    torso.paint()
    texture = 0.6 * random_field(grid, 4.0, rng) + 0.8 * random_field(grid, 10.0, rng)
    return acquire_ct(body, grid, texture, noise * NOISE, rng), torso.label
