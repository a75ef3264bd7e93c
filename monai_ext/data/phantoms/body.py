"""A body painted tissue by tissue in HU and SUV, and its images in a CT and a PET scanner."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from monai_ext.data.phantoms.texture import Array, random_field
from monai_ext.data.phantoms.volume import Grid, sample

__all__ = ["Body", "Mask", "Tissues", "acquire_ct", "acquire_pet"]

Mask = NDArray[np.bool_]
Tissues = Mapping[str, tuple[float, float, float]]  # CT in HU, uptake in SUV, relative spread of the uptake

CT_BLUR = 0.5  # mm
PET_BLUR = 6.0  # mm, full width at half maximum of the scanner
PET_NOISE = 0.09  # relative standard deviation at SUV 1; counts make it grow with the root of the SUV


class Body:
    """Maps of HU, SUV and the spread of SUV, painted with the tissues of a table; it begins as its ``"air"``."""

    def __init__(self, shape: tuple[int, int, int], tissues: Tissues) -> None:
        self.tissues = tissues
        self.hu, self.suv, self.spread = (np.full(shape, float(value)) for value in tissues["air"])

    def paint(self, where: Mask, name: str, uptake: float = 1.0) -> None:
        """Fill with a tissue; ``uptake`` scales its SUV."""
        hu, suv, spread = self.tissues[name]
        self.hu[where], self.suv[where], self.spread[where] = hu, uptake * suv, spread


def acquire_ct(body: Body, grid: Grid, texture: Array, noise: float, rng: Generator) -> Array:
    """CT in HU on the grid of the body: tissue varies with ``texture``, air does not; ``noise`` is in HU."""
    spacing = np.linalg.norm(grid.affine[:3, :3], axis=0)
    ct = ndimage.gaussian_filter(body.hu + 12 * texture * (body.hu > -200), CT_BLUR / spacing, mode="nearest")
    return ct + noise * rng.standard_normal(ct.shape)


def acquire_pet(body: Body, grid: Grid, pet_grid: Grid, texture: Array, noise: float, rng: Generator) -> Array:
    """PET in SUV on ``pet_grid``: blurred to the resolution of a scanner; ``noise`` is relative to its usual level."""
    spacing = np.linalg.norm(grid.affine[:3, :3], axis=0)
    uptake = body.suv * np.exp(body.spread * texture)
    seen = ndimage.gaussian_filter(uptake, PET_BLUR / 2.355 / spacing, mode="nearest")
    pet = sample(seen, grid, pet_grid)
    # Neighbouring voxels of a reconstructed image share their noise.
    grain = random_field(pet_grid, 2.5, rng)
    return np.maximum(pet + noise * PET_NOISE * np.sqrt(np.maximum(pet, 0)) * grain, 0)
