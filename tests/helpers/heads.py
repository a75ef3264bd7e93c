"""Synthetic heads of two kinds, for tests that tell patients apart."""

import nibabel as nib
import numpy as np


def head(kind, seed, shape=(40, 36, 20)):
    """An ellipsoid of tissue in noisy air; its bright half lies to the left or to the right."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    inside = x**2 + y**2 + z**2 < 0.7
    bright = inside & ((x > 0) if kind else (x < 0))
    values = 100.0 * inside + 150 * bright + rng.normal(0, 8, shape) * inside + rng.uniform(0, 6, shape)
    return values.astype(np.float32)


def save(values, path, mm=2.0):
    nib.save(nib.Nifti1Image(values, np.diag([mm, mm, mm, 1])), path)
