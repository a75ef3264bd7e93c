"""Error of predicted patches, which losses minimize and by which maskers rank."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from monai_ext.networks.blocks.patches import patchify

__all__ = ["normalize_patches", "patch_error", "patch_moments", "patch_targets"]

EPS = 1e-6  # added to the variance of a patch


def patch_moments(patches: Tensor, channels: int = 1, eps: float = EPS) -> tuple[Tensor, Tensor]:
    """Mean and deviation by which patches are normalized, both ``[B, N, 1, channels]``.

    Args:
        patches: ``[B, N, P * C]``.
        channels: see :func:`normalize_patches`.
        eps: constant added to the (unbiased) variance.
    """
    var, mean = torch.var_mean(patches.unflatten(-1, (-1, channels)), dim=-2, keepdim=True)
    return mean, (var + eps).sqrt()


def normalize_patches(patches: Tensor, channels: int = 1, eps: float = EPS) -> Tensor:
    """Give every patch zero mean and unit variance.

    Args:
        patches: ``[B, N, P * C]``.
        channels: number of channels that are normalized separately: 1 normalizes all values of a patch jointly, C each
            channel by itself.
        eps: constant added to the (unbiased) variance.

    Returns:
        Tensor of the same shape.
    """
    mean, deviation = patch_moments(patches, channels, eps)
    return ((patches.unflatten(-1, (-1, channels)) - mean) / deviation).flatten(-2)


def patch_targets(
    image: Tensor, patch_size: Sequence[int], normalize: bool = True, per_channel: bool = False
) -> Tensor:
    """Patches ``[B, N, P * C]`` of an image ``[B, C, *spatial]``.

    Args:
        image: ``[B, C, *spatial]``.
        patch_size: pixels of a patch along each axis.
        normalize: True gives each patch zero mean and unit variance.
        per_channel: True normalizes each channel of a patch by itself; used only with ``normalize``.
    """
    patches = patchify(image, patch_size)
    return normalize_patches(patches, image.shape[1] if per_channel else 1) if normalize else patches


def patch_error(
    pred: Tensor,
    image: Tensor,
    patch_size: Sequence[int],
    normalize: bool = True,
    per_channel: bool = False,
    absolute: bool = False,
) -> Tensor:
    """Mean squared error of each patch: ``[B, N]`` in fp32.

    Args:
        pred: ``[B, N, P * C]`` patches, or an image ``[B, C, *spatial]``.
        image: ``[B, C, *spatial]``, the image to predict.
        patch_size: see :func:`patch_targets`.
        normalize: see :func:`patch_targets`.
        per_channel: see :func:`patch_targets`.
        absolute: True takes the mean absolute instead of the mean squared error.
    """
    if pred.shape[1:] == image.shape[1:]:
        pred = patchify(pred, patch_size)
    difference = pred.float() - patch_targets(image.float(), patch_size, normalize, per_channel)
    return (difference.abs() if absolute else difference.square()).mean(-1)
