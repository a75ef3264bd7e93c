"""Anomaly maps: where an image differs from its pseudo-healthy reconstruction (adU-Net, eq. 1)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.networks.layers import gaussian_1d, separable_filtering
from monai.transforms import Transform
from monai.utils import convert_to_dst_type, ensure_tuple_rep
from torch import Tensor

from monai_ext.errors import DataError

__all__ = ["AnomalyMapd", "anomaly_map"]

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

    Departures from the paper: its 8-pixel box shifts the map by half a pixel and means another size at every
    resolution, so the blur is a Gaussian of the same spread in mm; and the blur averages over gland voxels only
    (normalised convolution), where blurring first and masking afterwards fades lesions at the capsule.

    Args:
        image: x, ``[C, *spatial]``.
        reconstruction: G(x), the same shape.
        gland: ``[1, *spatial]`` or ``[C, *spatial]``, foreground where not zero; everywhere when None.
        spacing: mm per voxel along each spatial axis.
        sigma: standard deviation of the blur in mm, of all axes or each; 0 does not blur along an axis, so that
            ``(s, s, 0)`` blurs slices in their plane as the paper does.
        signed: keep the sign of x - G(x). Significant cancer is dark on T2W and ADC and bright on high-b DWI.

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


class AnomalyMapd(Transform):
    """:func:`anomaly_map` of a dict: the spacing comes from the image's affine.

    Args:
        image_key: the image x.
        reconstruction_key: its reconstruction G(x).
        output_key: where the map goes, with the metadata of the image.
        gland_key: the gland mask; no mask when None.
        sigma: see :func:`anomaly_map`.
        signed: see :func:`anomaly_map`.
        case_key: the id of the case, for messages.

    Raises:
        DataError: when the image, the reconstruction and the gland do not lie on one grid.
        ValueError: when the image has no affine.
    """

    def __init__(
        self,
        image_key: Hashable,
        reconstruction_key: Hashable,
        output_key: Hashable,
        gland_key: Hashable | None = None,
        sigma: float | Sequence[float] = BOX8_SIGMA,
        signed: bool = False,
        case_key: Hashable = "id",
    ) -> None:
        self.image_key, self.reconstruction_key, self.output_key = image_key, reconstruction_key, output_key
        self.gland_key, self.sigma, self.signed, self.case_key = gland_key, sigma, signed, case_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the map to a copy of the dict; images are ``[C, *spatial]``."""
        result = dict(data)
        image = data[self.image_key]
        if not isinstance(image, MetaTensor):
            raise ValueError(f"{self.image_key} has no affine to take the spacing from")
        others = {k: data[k] for k in (self.reconstruction_key, self.gland_key) if k is not None}
        for key, other in others.items():
            same = not isinstance(other, MetaTensor) or torch.allclose(
                other.affine.double(), image.affine.double(), atol=1e-4
            )
            if other.shape[1:] != image.shape[1:] or not same:
                raise DataError(
                    f"{key} {tuple(other.shape[1:])} is not on the grid of {self.image_key} {tuple(image.shape[1:])}",
                    "Resample it onto that grid first.",
                    case=data.get(self.case_key),
                )
        plain = {k: torch.as_tensor(v.as_tensor() if isinstance(v, MetaTensor) else v) for k, v in others.items()}
        result[self.output_key] = convert_to_dst_type(
            anomaly_map(
                image.as_tensor(),
                plain[self.reconstruction_key],
                plain.get(self.gland_key),
                [float(mm) for mm in image.pixdim],
                self.sigma,
                self.signed,
            ),
            image,
            dtype=torch.float32,
        )[0]
        return result
