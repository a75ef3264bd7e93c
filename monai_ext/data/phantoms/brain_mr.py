"""Brain MRI with glioma: T1, contrast-enhanced T1, T2 and FLAIR on one grid, skull-stripped, in BraTS' naming."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from monai_ext.data.phantoms.cohort import Case, cohort, make_cases
from monai_ext.data.phantoms.registry import register_phantom
from monai_ext.data.phantoms.texture import Array, coil_shading, ellipsoid, random_field, rician
from monai_ext.data.phantoms.volume import Grid, write_nifti

__all__ = ["generate_brain_mr"]

Mask = NDArray[np.bool_]

SHAPE, SPACING = (160, 192, 28), (1.0, 1.0, 5.0)  # mm
NOISE = 0.012  # relative to the signal of a proton density of one
NECROSIS, EDEMA, ENHANCING = 1, 2, 4  # BraTS 2018
MIN_TUMOR_VOXELS = 400


@dataclass(frozen=True)
class Tissue:
    """T1 and T2 in ms, relative proton density, mM of contrast agent that it takes up, texture (of T1 and T2)."""

    t1: float
    t2: float
    density: float
    contrast: float = 0.0
    texture: float = 0.03


# Typical values at 1.5 to 3 T for brain (Stanisz et al. 2005, Magn Reson Med 54) and glioma.
TISSUES = {
    "white": Tissue(850, 75, 0.70, 0.005),
    "gray": Tissue(1350, 98, 0.81, 0.01, 0.04),
    "deep gray": Tissue(1150, 82, 0.77, 0.01, 0.03),
    "fluid": Tissue(4200, 1900, 1.0, 0.0, 0.01),
    "vessel": Tissue(1700, 60, 0.6, 0.5, 0.1),
    "hyperintensity": Tissue(1250, 130, 0.80, 0.0, 0.05),
    "edema": Tissue(1600, 155, 0.80, 0.01, 0.07),
    "necrosis": Tissue(2300, 260, 0.92, 0.02, 0.12),
    "enhancing": Tissue(1400, 118, 0.83, 0.25, 0.12),
    "solid": Tissue(1600, 135, 0.82, 0.02, 0.10),  # tumor that does not enhance
}
RELAXIVITY = 4.5  # of the contrast agent, per mM and s


class Brain:
    """Maps of T1, T2, proton density, contrast agent and texture, painted tissue by tissue."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.maps = {name: np.full(shape, float(value)) for name, value in vars(TISSUES["fluid"]).items()}

    def paint(self, where: Mask, name: str, scale: float | Array = 1.0) -> None:
        """Fill with a tissue; ``scale`` moves its T1 and T2 away from those of white matter, or towards them."""
        factor = np.broadcast_to(scale, where.shape)[where]
        for key, value in vars(TISSUES[name]).items():
            normal = getattr(TISSUES["white"], key)
            self.maps[key][where] = normal + factor * (value - normal) if key in ("t1", "t2") else value

    def vary(self, field: Array) -> None:
        """Apply texture, a log-normal factor of T1 and T2."""
        for key in ("t1", "t2"):
            self.maps[key] *= np.exp(self.maps["texture"] * field)

    def spin_echo(self, repetition: float, echo: float, agent: bool = False) -> Array:
        """S = density (1 - exp(-TR / T1)) exp(-TE / T2), times in ms."""
        return self.maps["density"] * (1 - np.exp(-repetition / self._t1(agent))) * np.exp(-echo / self.maps["t2"])

    def flair(self, repetition: float, inversion: float, echo: float) -> Array:
        """S = density |1 - 2 exp(-TI / T1) + exp(-TR / T1)| exp(-TE / T2): fluid is nulled by its long T1."""
        t1 = self._t1(False)
        magnetization = np.abs(1 - 2 * np.exp(-inversion / t1) + np.exp(-repetition / t1))
        return self.maps["density"] * magnetization * np.exp(-echo / self.maps["t2"])

    def _t1(self, agent: bool) -> Array:
        rate = 1000 / self.maps["t1"] + agent * RELAXIVITY * self.maps["contrast"]  # per s
        return 1000 / rate


@register_phantom("brain_mr", version=1)
def generate_brain_mr(
    directory: Path,
    num_training: int = 3,
    num_validation: int = 2,
    num_testing: int = 2,
    seed: int = 0,
    noise: float = 1.0,
) -> dict[str, list[dict[str, Any]]]:
    """Write the cases and return the datalist: training in fold 1, validation in fold 0, and testing.

    Labels are those of BraTS 2018: 1 necrosis and tumor that does not enhance, 2 edema, 4 enhancing tumor. Unlike
    BraTS, every third training case and every second of the others has no tumor. All brains can show white matter
    hyperintensities, as bright as edema on T2 and FLAIR. A case depends only on the seed, its section and its number,
    so a larger set begins with the cases of a smaller one.

    Args:
        directory: folder to write to, one subfolder per case: ``<id>/<id>_{t1,t1ce,t2,flair,seg}.nii.gz``.
        num_training, num_validation, num_testing: numbers of cases.
        seed: seed of the patients.
        noise: factor of the noise level; 0 gives images without noise.
    """

    def make(case: Case) -> None:
        item, name = case.item, case.item["id"]
        grid = Grid.centered(SHAPE, SPACING, np.diag([-1.0, -1.0, 1.0]), case.rng.uniform(-5, 5, 3))
        images = _make_case(grid, case.diseased, noise, case.rng)
        for key, image in images.items():
            item[key] = f"{name}/{name}_{'seg' if key == 'label' else key}.nii.gz"
            write_nifti(directory / item[key], image, grid, np.uint8 if key == "label" else np.int16)

    return make_cases(cohort("brain", seed, num_training, num_validation, num_testing), make)


def _make_case(grid: Grid, tumor: bool, noise: float, rng: Generator) -> dict[str, NDArray[Any]]:
    """Images and label by their datalist key; zero outside the brain."""
    # A long-range displacement takes the geometry out of the ellipsoids. Axes: left, posterior, superior.
    x, y, z = (c + 2.5 * random_field(grid, 30.0, rng) for c in grid.offsets())
    half_axes = (rng.uniform(62, 68), rng.uniform(78, 85), rng.uniform(62, 68))
    level = ellipsoid((x, y, z), (0, 0, -8), half_axes, 2.2)
    brain = Brain(grid.shape)
    fluid = _paint_brain(brain, grid, (x, y, z), level, half_axes, rng)
    _paint_hyperintensities(brain, grid, fluid & (level < 0.7), level, rng)
    label: NDArray[np.uint8] = np.zeros(grid.shape, np.uint8)
    while tumor and np.count_nonzero(label) < MIN_TUMOR_VOXELS:
        label, swelling = _place_tumor(grid, (x, y, z), half_axes, (level < 0.97) & ~fluid, rng)
    if tumor:
        brain.paint(label == EDEMA, "edema", scale=rng.uniform(0.6, 1) * (1.3 - 0.8 * swelling).clip(0.2))
        brain.paint(label == NECROSIS, "necrosis", scale=rng.uniform(0.85, 1.15))
        brain.paint((label == NECROSIS) & (random_field(grid, 6.0, rng) > 0.3), "solid")
        brain.paint(label == ENHANCING, "enhancing", scale=rng.uniform(0.6, 1.1))
        brain.maps["contrast"] *= rng.uniform(0.4, 1.1) * (1 + 0.4 * random_field(grid, 5.0, rng)).clip(0.2)
    brain.vary(0.8 * random_field(grid, (1.5, 1.5, 3.0), rng) + 0.6 * random_field(grid, (5.0, 5.0, 7.0), rng))

    signals = {
        "t1": brain.spin_echo(550, 12),
        "t1ce": brain.spin_echo(550, 12, agent=True),
        "t2": brain.spin_echo(4500, 95),
        "flair": brain.flair(9000, 2500, 115),
    }
    images: dict[str, NDArray[Any]] = {}
    for key, signal in signals.items():
        blurred = ndimage.gaussian_filter(signal, (0.6, 0.6, 0.2), mode="nearest")  # voxels hold several tissues
        shaded = blurred * coil_shading(grid, rng.uniform(0.04, 0.12), rng)
        images[key] = rng.uniform(800, 1800) * rician(shaded, noise * NOISE, rng) * (level < 1)
    return images | {"label": label}


def _paint_brain(
    brain: Brain,
    grid: Grid,
    at: tuple[Array, Array, Array],
    level: Array,
    half_axes: tuple[float, float, float],
    rng: Generator,
) -> Mask:
    """Paint white and gray matter, folds, nuclei, ventricles and vessels; return where fluid is."""
    x, y, z = at
    depth = (1 - level) * half_axes[0]  # mm below the surface, roughly
    fold = np.abs(random_field(grid, (4.5, 4.5, 8.0), rng))
    side = np.sign(rng.standard_normal()) * rng.uniform(0, 1.5)
    fissure = (np.abs(x - side) < 1.3) & (depth < 26)
    sulcus = (fold < 0.09) & (depth < 15) | (depth < 1.2) | fissure
    cortex = (depth < 5) | (fold < 0.75) & (depth < 19) | (np.abs(x - side) < 5) & (depth < 28)
    brain.paint(level < 1, "white")
    brain.paint(cortex & (level < 1), "gray", scale=rng.uniform(0.95, 1.05))
    size = rng.uniform(0.8, 1.35)
    fluid = sulcus
    for sign in (-1, 1):
        bend = sign * (6 + 0.22 * np.abs(y + 5))  # the lateral ventricles diverge to the front and to the back
        brain.paint(ellipsoid(at, (sign * 24, -4, 2), (7, 17, 12)) < 1, "deep gray")  # putamen and pallidum
        brain.paint(ellipsoid(at, (sign * 9, 12, 0), (8, 14, 11)) < 1, "deep gray")  # thalamus
        brain.paint(ellipsoid((x - bend, y, z), (sign * 7, -24, 12), (5, 9, 12)) < 1, "deep gray")  # caudate
        fluid = fluid | (ellipsoid((x - bend, y, z), (sign * 2, 2, 16), (5.5 * size, 33, 10 * size), 2.3) < 1)
    fluid |= ellipsoid(at, (0, 8, 0), (2 * size, 12, 11)) < 1  # third ventricle
    fluid &= level < 1
    brain.paint(fluid, "fluid")
    brain.paint((random_field(grid, (3.0, 3.0, 9.0), rng) > 3.0) & (depth < 30) & (level < 1), "vessel")
    brain.paint((np.abs(x - side) < 2.5) & (depth < 5) & (level < 1), "vessel")  # superior sagittal sinus
    return fluid


def _paint_hyperintensities(brain: Brain, grid: Grid, ventricles: Mask, level: Array, rng: Generator) -> None:
    """White matter hyperintensities of small vessels: caps of the ventricles and foci, more of them in some brains."""
    burden = rng.uniform(0, 1)
    distance = ndimage.distance_transform_edt(~ventricles, sampling=SPACING)
    white = brain.maps["t1"] == TISSUES["white"].t1
    caps = (distance < 3 + 6 * burden) & (random_field(grid, 9.0, rng) > 0.8 - 0.6 * burden)
    foci = (random_field(grid, (2.5, 2.5, 4.0), rng) > 2.7 - 0.6 * burden) & (level < 0.85)
    brain.paint(white & (caps | foci), "hyperintensity", scale=rng.uniform(0.8, 1.6))


def _place_tumor(
    grid: Grid, at: tuple[Array, Array, Array], half_axes: tuple[float, float, float], tissue: Mask, rng: Generator
) -> tuple[NDArray[np.uint8], Array]:
    """A glioma in one hemisphere: necrosis in a ragged enhancing rim, and edema that keeps to the tissue around.

    Returns the label and the level of the swelling, 1 at its edge.
    """
    direction = rng.standard_normal(3) * (1, 1, 0.6)
    place = 0.55 * direction / np.linalg.norm(direction) * half_axes
    place[0] = np.sign(place[0]) * max(abs(place[0]), 16)
    radius = rng.uniform(9, 20)
    stretch = rng.uniform(0.8, 1.25, 3)
    ragged = 0.22 * random_field(grid, 9.0, rng) + 0.07 * random_field(grid, (3.0, 3.0, 5.0), rng)
    core = ellipsoid(at, tuple(place), tuple(radius * stretch)) + ragged
    swelling = ellipsoid(at, tuple(place), tuple((radius + rng.uniform(5, 16)) * stretch))
    inner = 1 - rng.uniform(3.0, 6.0) / radius + 0.15 * random_field(grid, 5.0, rng)
    label = np.zeros(grid.shape, np.uint8)
    swelling += 0.35 * random_field(grid, 12.0, rng)
    label[(swelling < 1) & tissue] = EDEMA
    label[(core < 1) & tissue] = ENHANCING
    label[(core < inner) & tissue] = NECROSIS
    return label, swelling
