"""Anomaly maps: where an image differs from its pseudo-healthy reconstruction (adU-Net, eq. 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers import gaussian_1d, separable_filtering
from monai.utils import ensure_tuple_rep
from torch import Tensor

__all__ = ["BOX8_SIGMA", "anomaly_map"]

# Standard deviation of the paper's 8-pixel box at its 0.5 mm pixels: sqrt((8^2 - 1) / 12) * 0.5 mm.
BOX8_SIGMA = 1.15


def anomaly_map(
    image: Tensor,
    reconstruction: Tensor,
    gland: Tensor | None = None,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    sigma: float | Sequence[float] = BOX8_SIGMA,
    signed: bool = False,
) -> Tensor:
    """a = blur(|x - G(x)|) inside the gland, zero outside (adU-Net, eq. 1).

    Departures from the paper: the paper's 8-pixel box shifts the map by half a pixel and has another size in mm at
    every resolution, so the blur here is a Gaussian of the same spread in mm. The blur averages over gland voxels only
    (normalised convolution); blurring before masking would fade lesions at the capsule.

    Args:
        image: x, ``[C, *spatial]``.
        reconstruction: G(x), the same shape.
        gland: ``[1, *spatial]`` or ``[C, *spatial]``, foreground where not zero; everywhere when None.
        spacing: mm per voxel along each spatial axis.
        sigma: standard deviation of the blur in mm, of all axes or each; 0 does not blur along an axis, so that
            ``(s, s, 0)`` blurs slices in their plane as the paper does.
        signed: True keeps the sign of x - G(x). Significant cancer is dark on T2W and ADC and bright on high-b DWI.

    Returns:
        fp32 ``[C, *spatial]``, in the units of the image.

    Raises:
        ValueError: when shapes, spacing or sigma do not fit.
    """
    dims = image.ndim - 1
    if image.shape != reconstruction.shape or (gland is not None and gland.shape[1:] != image.shape[1:]):
        mask = None if gland is None else tuple(gland.shape)
        raise ValueError(
            f"image {tuple(image.shape)}, reconstruction {tuple(reconstruction.shape)} and gland {mask} differ in shape"
        )
    sigmas = ensure_tuple_rep(sigma, dims)
    if len(spacing) != dims or min(spacing) <= 0 or min(sigmas) < 0:
        raise ValueError(f"spacing {tuple(spacing)} and sigma {sigmas} do not fit {dims} axes")
    inside = torch.ones_like(image[:1], dtype=torch.bool) if gland is None else gland != 0
    weight = inside.float()
    difference = image.float() - reconstruction.float()
    difference = (difference if signed else difference.abs()).where(inside, torch.zeros(()).to(difference))
    kernels = [
        gaussian_1d(torch.tensor(s / mm), approx="sampled", normalize=True) if s else torch.ones(1)
        for s, mm in zip(sigmas, spacing)
    ]
    share = separable_filtering(weight[None], kernels)[0]
    return torch.where(inside, separable_filtering(difference[None], kernels)[0] / share, 0.0)
