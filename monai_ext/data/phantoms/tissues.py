"""Tissues of the male pelvis at 3 T and the two signal equations of bpMRI."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_ext.data.phantoms.texture import Array

__all__ = ["TISSUES", "Scene", "Tissue", "apparent_diffusion", "diffusion_signal", "t2_signal"]


@dataclass(frozen=True)
class Tissue:
    """Effective T2 in ms, ADC in 1e-6 mm2/s, relative proton density, and its remainder in fat-suppressed DWI."""

    t2: float
    adc: float
    density: float = 1.0
    unsuppressed: float = 1.0
    texture: float = 0.06  # relative standard deviation of T2; that of ADC is half of it


# Typical values at 3 T: prostate zones and cancer after Hoeks et al. 2011 (Radiology 261) and PI-RADS reference
# ranges; marrow and fat have an effective T2 that reproduces their brightness in a fast spin echo.
TISSUES = {
    "fat": Tissue(125, 250, 0.95, 0.04, 0.09),
    "muscle": Tissue(36, 1250, 0.85, texture=0.14),
    "marrow": Tissue(80, 350, 0.75, 0.08, 0.12),
    "cortex": Tissue(15, 300, 0.15, 0.1),
    "cartilage": Tissue(45, 900, 0.5, 0.3),
    "urine": Tissue(900, 2900, 1.0, texture=0.02),
    "wall": Tissue(52, 1400, 0.9, texture=0.12),
    "gas": Tissue(20, 1000, 0.02, 0.5, 0.5),
    "stool": Tissue(70, 1100, 0.6, 0.5, 0.35),
    "vein": Tissue(190, 2000, 0.95, texture=0.15),
    "artery": Tissue(25, 1500, 0.15, 0.2),
    "vesicle": Tissue(260, 1800, 1.0, texture=0.20),
    "peripheral": Tissue(150, 1650, texture=0.16),
    "transition": Tissue(88, 1330, texture=0.17),
    "central": Tissue(72, 1120, texture=0.10),
    "stroma": Tissue(48, 1150, 0.9, texture=0.12),
    "capsule": Tissue(46, 1200, 0.85),
    "urethra": Tissue(170, 1700, texture=0.10),
    "glandular nodule": Tissue(145, 1650, texture=0.20),
    "mixed nodule": Tissue(92, 1300, texture=0.22),
    "stromal nodule": Tissue(66, 930, texture=0.12),
    "prostatitis": Tissue(92, 1080, texture=0.14),
    "cyst": Tissue(420, 2100, texture=0.05),
    "lesion": Tissue(74, 910, texture=0.13),
}


class Scene:
    """Maps of T2, ADC, proton density and fat suppression on one grid, painted tissue by tissue."""

    def __init__(self, shape: tuple[int, int, int], background: str) -> None:
        tissue = TISSUES[background]
        self.t2 = np.full(shape, tissue.t2, dtype=np.float32)
        self.adc = np.full(shape, tissue.adc, dtype=np.float32)
        self.density = np.full(shape, tissue.density, dtype=np.float32)
        self.unsuppressed = np.full(shape, tissue.unsuppressed, dtype=np.float32)
        self.texture = np.full(shape, tissue.texture, dtype=np.float32)

    def window(self, box: tuple[slice, ...]) -> Scene:
        """The part of the scene in ``box``; painting it paints the whole."""
        part = copy.copy(self)
        for name, values in vars(self).items():
            setattr(part, name, values[box])
        return part

    def paint(self, where: NDArray[Any], name: str, t2: float = 1.0, adc: float = 1.0) -> None:
        """Fill with a tissue; ``where`` is bool or a weight in [0, 1]; ``t2`` and ``adc`` scale its values."""
        tissue, chosen = TISSUES[name], where > 0
        weight = where[chosen].astype(np.float32)
        new = (tissue.t2 * t2, tissue.adc * adc, tissue.density, tissue.unsuppressed, tissue.texture)
        for current, value in zip((self.t2, self.adc, self.density, self.unsuppressed, self.texture), new):
            current[chosen] += weight * (value - current[chosen])

    def vary(self, t2_field: Array, adc_field: Array) -> None:
        """Apply texture: log-normal factors whose spread is that of the tissue."""
        self.t2 *= np.exp(self.texture * t2_field)
        self.adc *= np.exp(0.5 * self.texture * adc_field)


def t2_signal(density: Array, t2: Array, echo_time: float) -> Array:
    """Spin echo at long repetition time: S = density exp(-TE / T2), times in ms."""
    return density * np.exp(-echo_time / t2)


def diffusion_signal(s0: Array, adc: Array, b_value: float) -> Array:
    """Mono-exponential diffusion: S = S0 exp(-b ADC), b in s/mm2, ADC in 1e-6 mm2/s."""
    return s0 * np.exp(-b_value * adc * 1e-6)


def apparent_diffusion(low: Array, high: Array, b_low: float, b_high: float) -> Array:
    """ADC in 1e-6 mm2/s from two images: ln(S_low / S_high) / (b_high - b_low), not below 0."""
    floor = 1e-9
    ratio = np.maximum(low, floor) / np.maximum(high, floor)
    return np.maximum(np.log(ratio) / (b_high - b_low) * 1e6, 0)
