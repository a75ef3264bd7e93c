"""The torso from the neck to the thighs: organs, bones, vessels and bowel, in HU and SUV."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from monai_ext.data.phantoms.body import Body, Mask, Tissues
from monai_ext.data.phantoms.texture import Array, ellipsoid, random_field
from monai_ext.data.phantoms.volume import Grid

__all__ = ["ORGANS", "Torso", "torso_tissues"]

Point = tuple[float, float, float]
Offsets = tuple[Array, Array, Array]

ORGANS = {
    1: "liver",
    2: "spleen",
    3: "kidney_right",
    4: "kidney_left",
    5: "stomach",
    6: "pancreas",
    7: "aorta",
    8: "vertebrae",
    9: "lung",
    10: "urinary_bladder",
}

# HU without contrast agent, HU that it adds in the portal venous phase, SUV of FDG, relative spread of the SUV.
TISSUES = {
    "air": (-1000, 0, 0.02, 0.5),
    "lung": (-820, 8, 0.45, 0.3),
    "skin": (10, 5, 0.6, 0.2),
    "fat": (-100, 2, 0.25, 0.3),
    "muscle": (50, 12, 0.8, 0.2),
    "cortical bone": (600, 0, 0.6, 0.2),
    "marrow": (170, 20, 1.6, 0.2),
    "disc": (75, 5, 0.8, 0.2),
    "cord": (35, 5, 1.4, 0.1),
    "blood": (42, 105, 1.7, 0.05),
    "heart": (44, 70, 4.5, 0.3),
    "liver": (57, 52, 2.3, 0.12),
    "spleen": (48, 68, 1.9, 0.12),
    "pancreas": (40, 55, 1.5, 0.2),
    "kidney": (33, 120, 2.6, 0.15),
    "renal pelvis": (8, 15, 14.0, 0.4),
    "gut wall": (40, 45, 2.0, 0.5),
    "contents": (22, 6, 0.8, 0.3),
    "stool": (20, 4, 1.2, 0.4),
    "gas": (-920, 0, 0.1, 0.3),
    "urine": (6, 4, 22.0, 0.05),
}


def torso_tissues(rng: Generator) -> Tissues:
    """Table of one patient, with a random amount of contrast agent and a small variation of every tissue."""
    agent = 0.0 if rng.random() < 0.25 else rng.uniform(0.5, 1.3)
    own = dict(zip(TISSUES, rng.standard_normal(len(TISSUES))))
    return {
        name: (hu + agent * more * (1 + 0.15 * own[name]) + 5 * own[name] * (0 < hu < 100), suv, spread)
        for name, (hu, more, suv, spread) in TISSUES.items()
    }


class Torso:
    """Paint a body, and record the organ of :data:`ORGANS` of each voxel in ``label``.

    Args:
        body: body whose table is one of :func:`torso_tissues`.
        grid: grid of the body.
        at: displacement (mm) of each voxel from the first lumbar vertebra to the left, posterior and superior.
        rng: source of the anatomical variation.
    """

    def __init__(self, body: Body, grid: Grid, at: Offsets, rng: Generator) -> None:
        self.body, self.grid, self.at, self.rng = body, grid, at, rng
        self.label: NDArray[np.uint8] = np.zeros(grid.shape, np.uint8)
        x, y, z = at
        axes = [(1, 2), (0, 2), (0, 1)]
        self.limits = [(a.min(axis), a.max(axis)) for a, axis in zip(at, axes)]  # mm, of each plane across the axis
        girth = rng.uniform(0.9, 1.1)
        # 1 on the skin; the muscles of the wall begin where `wall` is 1, the cavity where it is 0.86.
        narrow = np.sqrt(np.clip((252 - z) / 70, 0.1, 1))  # the shoulders
        self.outline = ellipsoid((x / narrow, y, 0 * z), (0, 0, 0), (156 * girth, 106 * girth, 1), 2.3)
        self.wall = self.outline / (1 - rng.uniform(0.05, 0.16))
        dome = 46 + 36 * np.exp(-(((np.abs(x) - 62) / 48) ** 2) - ((y + 5) / 70) ** 2) + 6 * (x < 0)
        self.chest = (z > dome) & (z < 215)  # above the diaphragm
        self.cavity = self.wall < 0.86

    def paint(self) -> None:
        """Paint all structures; later ones cover earlier ones."""
        self._paint_wall()
        self._paint_bowel()
        self._paint_chest()
        self._paint_upper_abdomen()
        self._paint_kidneys()
        self._paint_pelvis()
        self._paint_spine_and_vessels()

    def blob(self, center: Point, half_axes: Point, power: float = 2.0) -> Array:
        """Level of an ellipsoid whose place and size vary between patients; infinite far away from it, to save time."""
        c = (np.array(center) + self.rng.uniform(-4, 4, 3)).tolist()
        h = (np.array(half_axes) * self.rng.uniform(0.88, 1.14, 3)).tolist()
        level = np.full(self.grid.shape, np.inf, np.float32)
        near = [(low < m + 1.5 * n) & (high > m - 1.5 * n) for (low, high), m, n in zip(self.limits, c, h)]
        if all(planes.any() for planes in near):
            box = tuple(slice(planes.argmax(), len(planes) - planes[::-1].argmax()) for planes in near)
            x, y, z = (a[box] for a in self.at)
            level[box] = ellipsoid((x, y, z), (c[0], c[1], c[2]), (h[0], h[1], h[2]), power)
        return level

    def fill(self, where: Mask, tissue: str, organ: str = "", uptake: float = 1.0) -> None:
        """Paint a structure: the label becomes that of the organ, or background."""
        self.body.paint(where, tissue, uptake)
        self.label[where] = next((number for number, name in ORGANS.items() if name == organ), 0)

    def _paint_wall(self) -> None:
        """Skin, fat, muscles and ribs; fat in the abdomen."""
        _, y, z = self.at
        trunk = (z > -400) & (z < 240)
        self.fill((self.outline < 1) & trunk, "skin")
        self.fill((self.outline < 0.975) & trunk, "fat")
        strands = random_field(self.grid, (4.0, 4.0, 12.0), self.rng)
        self.fill((self.wall < 1) & (strands > -1.6) & trunk, "muscle")
        rib = (np.abs(self.wall - 0.92) < 0.035) & (np.cos((z + 0.35 * y) * 2 * np.pi / 26) > 0.35) & (z > -5)
        self.fill(rib & (z < 215), "cortical bone")
        self.fill(self.cavity & trunk, "fat")
        for side in (-1, 1):
            self.fill(self.blob((side * 38, 80, 0), (32, 20, 900), 2.4) < 1, "muscle")  # beside the spine
            self.fill((self.blob((side * 40, 52, -110), (22, 22, 100)) < 1) & (z < 10), "muscle")  # psoas

    def _paint_bowel(self) -> None:
        """Loops of small bowel, and the colon with stool and gas: their walls are as bright as organs."""
        _, y, z = self.at
        room = self.cavity & ~self.chest & (y < 35) & (z < 30) & (z > -190)
        field = random_field(self.grid, 9.0, self.rng)
        self.fill(room & (field > -0.35), "gut wall", uptake=self.rng.uniform(0.5, 2.0))
        self.fill(room & (field > 0.35), "contents")
        gas = random_field(self.grid, 8.0, self.rng)
        uptake = self.rng.uniform(0.5, 2.5)
        tubes = ((-102, 12, -60), (20, 20, 75)), ((106, 20, -45), (18, 18, 90)), ((0, -62, -28), (105, 18, 19))
        for center, half_axes in tubes:
            level = self.blob(center, half_axes, 2.5) + 0.1 * field
            self.fill((level < 1) & self.cavity, "gut wall", uptake=uptake)
            self.fill((level < 0.82) & self.cavity, "stool")
            self.fill((level < 0.8) & self.cavity & (gas > 0.6), "gas")

    def _paint_chest(self) -> None:
        """Lungs with their vessels, and the heart."""
        lungs = np.minimum(self.blob((70, 5, 125), (56, 78, 88), 2.8), self.blob((-70, 5, 125), (58, 78, 88), 2.8))
        lungs_mask = (lungs < 1) & self.cavity & self.chest
        self.fill(self.cavity & self.chest & (np.abs(self.at[0]) < 34), "fat")  # mediastinum
        self.fill(lungs_mask, "lung", "lung")
        self.body.paint(lungs_mask & (random_field(self.grid, 3.5, self.rng) > 2.4), "blood")
        heart = self.blob((22, -24, 108), (47, 40, 46))
        self.fill((heart < 1) & self.cavity, "heart", uptake=self.rng.uniform(0.3, 2.0))
        self.fill((heart < 0.7) & self.cavity, "blood")

    def _paint_upper_abdomen(self) -> None:
        """Stomach, spleen, liver and pancreas, below the diaphragm."""
        x, y, z = self.at
        abdomen = self.cavity & ~self.chest
        grain = random_field(self.grid, 12.0, self.rng)
        fundus, antrum = self.blob((50, -28, 42), (36, 40, 42)), self.blob((16, -50, 8), (40, 23, 20))
        stomach = np.minimum(fundus, antrum) + 0.06 * grain
        lumen = (stomach < self.rng.uniform(0.6, 0.85)) & abdomen
        self.fill((stomach < 1) & abdomen, "gut wall", "stomach", self.rng.uniform(0.6, 1.8))
        self.body.paint(lumen, "contents")
        self.body.paint(lumen & (y < self.rng.uniform(-70, -30)), "gas")  # on the back, gas is in front
        spleen = self.blob((94, 36, 44), (32, 40, 46)) + 0.08 * grain
        self.fill((spleen < 1) & abdomen, "spleen", "spleen")
        lobes = np.minimum(self.blob((-64, -2, 40), (72, 82, 62), 2.3), self.blob((-4, -44, 48), (62, 34, 32)))
        liver = (lobes + 0.06 * grain < 1) & abdomen
        self.fill(liver, "liver", "liver")
        self.body.paint(liver & (random_field(self.grid, 4.0, self.rng) > 2.3), "blood")
        bend = self.rng.uniform(-4, 6) - 24 * np.sin(np.clip((x + 40) / 115, 0, 1) * np.pi)  # it crosses the spine
        thick = 12 + 6 * np.exp(-(((x + 30) / 20) ** 2)) - 0.03 * x
        pancreas = np.hypot(y - bend, (z - 0.32 * x - self.rng.uniform(-4, 8)) / 1.2) / thick + 0.12 * grain
        self.fill((pancreas < 1) & (np.abs(x - 18) < 56) & abdomen, "pancreas", "pancreas")

    def _paint_kidneys(self) -> None:
        x, y, z = self.at
        for name, side, low in (("kidney_right", -1, -20), ("kidney_left", 1, -8)):
            center = (side * 60.0, 44.0, low + self.rng.uniform(-10, 8))
            tilted = (x + side * 0.18 * (z - center[2]), y, z)
            a, b, c = np.array((26.0, 27.0, 54.0)) * self.rng.uniform(0.88, 1.12)
            level = ellipsoid(tilted, center, (a, b, c)) + 0.05 * random_field(self.grid, 10.0, self.rng)
            self.fill((level < 1) & (self.wall < 0.95), "kidney", name)
            hollow = ellipsoid(tilted, (center[0] - side * 10, center[1] - 4, center[2]), (11, 10, 24))
            self.body.paint((hollow < 1) & (level < 0.9), "renal pelvis", self.rng.uniform(0.3, 1.4))

    def _paint_pelvis(self) -> None:
        """Iliac bones, hips and thighs, and the bladder."""
        _, y, z = self.at
        for side in (-1, 1):
            wing = self.blob((side * 62, 42, -135), (52, 44, 62))
            shell = (np.abs(wing - 1) < 0.09) & (y > -5) & (z < -70)
            self.fill(shell, "cortical bone")
            self.fill(shell & (np.abs(wing - 1) < 0.05), "marrow")
            head = self.blob((side * 86, 10, -200), (25, 25, 25))
            shaft = self.blob((side * 96, 8, -400), (15, 15, 200))
            femur = np.minimum(head, np.where(z < -200, shaft, np.inf))
            self.fill(femur < 1, "cortical bone")
            self.fill(femur < 0.82, "marrow")
        fullness = self.rng.uniform(0.6, 1.15)
        level = self.blob((0, -20, -158), (44 * fullness, 34 * fullness, 32 * fullness), 2.2)
        self.fill(level < 1, "urine", "urinary_bladder", self.rng.uniform(0.4, 1.6))
        self.body.paint((level < 1) & (level > 0.88), "muscle")

    def _paint_spine_and_vessels(self) -> None:
        """Vertebrae with discs, arches and cord; aorta with its iliac branches, and the vena cava."""
        x, y, z = self.at
        self.fill((self.blob((-20, 24, 40), (11, 9, 900)) < 1) & (z > -95) & (z < 90), "blood")
        aorta = (self.blob((12, 26, 40), (11, 11, 900)) < 1) & (z > -95) & (z < 150)
        arch = (np.abs(np.hypot((z - 150), y - 3) - 23) < 10) & (np.abs(x - 8) < 11) & (z > 148)
        self.fill(aorta | arch, "blood", "aorta")
        branch = np.hypot(np.abs(x - 6) - 0.35 * (-95 - z), y - 26) < 7
        self.fill(branch & (z <= -95) & (z > -200), "blood")
        period, shift = 34.0, self.rng.uniform(0, 34)
        disc = (z + shift) % period < 8
        column = (z > -190) & (z < 240)
        body = self.blob((0, 54, 0), (23, 18, 9e4), 2.4)
        spine = (body < 1) & column
        process = (self.blob((0, 92, 0), (6, 20, 9e4)) < 1) | (self.blob((0, 76, 0), (34, 7, 9e4)) < 1) & ~disc
        process |= self.blob((0, 79, 0), (17, 15, 9e4)) < 1
        process &= column & ((z + shift) % period > 12)
        self.fill(process, "cortical bone", "vertebrae")
        self.fill(spine & ~disc, "cortical bone", "vertebrae")
        self.body.paint((body < 0.9) & column & ~disc, "marrow", self.rng.uniform(0.7, 1.5))
        self.fill(spine & disc, "disc")
        self.fill((self.blob((0, 78, 0), (9, 7.5, 9e4)) < 1) & column, "cord")
