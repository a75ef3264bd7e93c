"""Irregularities of a phantom: smooth random fields, irregular bodies, coil shading, Rician noise."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from scipy import ndimage

from monai_ext.data.phantoms.volume import Array, Grid

__all__ = ["Array", "coil_shading", "ellipsoid", "random_field", "rician"]


def random_field(grid: Grid, correlation: float | tuple[float, float, float], rng: Generator) -> Array:
    """Gaussian random field of zero mean and unit variance with the given correlation length in mm.

    Long correlations are drawn on a coarse lattice and interpolated, which costs little and looks the same.
    """
    spacing = np.linalg.norm(grid.affine[:3, :3], axis=0)
    sigma = np.broadcast_to(correlation, 3) / spacing
    step = np.maximum(sigma / 2, 1)
    coarse = [int(np.ceil(n / s)) + 4 for n, s in zip(grid.shape, step)]
    noise = ndimage.gaussian_filter(rng.standard_normal(coarse, dtype=np.float32), sigma / step, mode="wrap")
    field = noise
    for axis, (length, stride) in enumerate(zip(grid.shape, step)):
        field = _stretch(field, axis, length, stride)
    field = field.astype(np.float32)
    return (field - field.mean()) / max(field.std(), 1e-12)


def _stretch(values: Array, axis: int, length: int, stride: float) -> Array:
    """Linear interpolation along one axis at 1, 1 + 1 / stride, ... (SciPy's affine transform takes 8 corners each)."""
    at = np.arange(length) * (1 / stride) + 1.0
    low = at.astype(np.int64)
    share = (at - low).reshape([-1 if a == axis else 1 for a in range(values.ndim)])
    below = values.take(low, axis).astype(np.float64)
    return below + share * (values.take(low + 1, axis) - below) if share.any() else below


def ellipsoid(
    offsets: tuple[Array, Array, Array],
    center: tuple[float, float, float],
    half_axes: tuple[float, float, float],
    power: float = 2.0,
) -> Array:
    """Superellipsoid as a level: below 1 inside, 1 on the surface, above 1 outside, roughly linear in the distance."""
    terms = [np.abs((x - c) / h) ** power for x, c, h in zip(offsets, center, half_axes)]
    return (terms[0] + terms[1] + terms[2]) ** (1 / power)


def coil_shading(grid: Grid, strength: float, rng: Generator) -> Array:
    """Receive-coil shading: a smooth positive factor of mean one, brighter towards the anterior and posterior coils."""
    _, j, _ = grid.offsets()
    along = (j / np.abs(j).max()) ** 2
    field = strength * (along + 0.6 * random_field(grid, 60.0, rng))
    shading = np.exp(field)
    return shading / shading.mean()


def rician(signal: Array, sigma: float, rng: Generator) -> Array:
    """Magnitude of a complex signal with Gaussian noise ``sigma`` in both channels (Gudbjartsson & Patz 1995)."""
    if sigma == 0:
        return signal
    real = signal + sigma * rng.standard_normal(signal.shape)
    return np.hypot(real, sigma * rng.standard_normal(signal.shape))
