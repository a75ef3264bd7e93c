"""Quality of a reconstruction inside the gland, and of a map that separates lesion from gland."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from monai.metrics.regression import compute_ssim_and_cs
from numpy.typing import NDArray
from scipy import ndimage
from scipy.stats import rankdata
from torch import Tensor

__all__ = ["psnr_inside", "ssim_inside", "trivial_maps", "voxel_ap", "voxel_auroc"]


def psnr_inside(image: Tensor, reconstruction: Tensor, mask: Tensor, data_range: float) -> float:
    """10 log10(range^2 / mean squared error) over the voxels of a mask, in dB; infinite for equal images.

    The equal background voxels of a masked image would raise it with the size of the box; they are left out.

    Args:
        image: image of any shape.
        reconstruction: reconstruction of the same shape.
        mask: bool mask of the same shape.
        data_range: largest minus smallest possible value.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import psnr_inside
        >>> image, mask = torch.zeros(1, 4, 4), torch.ones(1, 4, 4, dtype=torch.bool)
        >>> psnr_inside(image, image + 0.5, mask, data_range=5.0)  # 10 log10(5^2 / 0.5^2)
        20.0
    """
    error = (image - reconstruction)[mask].double().square().mean().item()
    return float("inf") if error == 0 else float(10 * np.log10(data_range**2 / error))


def ssim_inside(image: Tensor, reconstruction: Tensor, mask: Tensor, data_range: float) -> float:
    """Structural similarity (Wang et al. 2004: Gaussian window of 11 pixels, sigma 1.5) in the slices, over a mask.

    The result is the mean over the windows whose middle lies in the mask. With the zeroed background included, a poor
    reconstruction of a small gland would score .83 instead of .48.

    Args:
        image: image ``[1, X, Y, Z]``.
        reconstruction: reconstruction of the same shape.
        mask: bool mask of the same shape.
        data_range: largest minus smallest possible value.

    Raises:
        ValueError: when a slice is smaller than the window.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import ssim_inside
        >>> image = torch.rand(1, 16, 16, 2)
        >>> round(ssim_inside(image, image, torch.ones(1, 16, 16, 2, dtype=torch.bool), data_range=1.0), 4)
        1.0
    """
    window = 11
    if min(image.shape[1:3]) < window:
        raise ValueError(f"slices of {tuple(image.shape[1:3])} are smaller than the window of {window} pixels")
    a, b = (x[0].movedim(-1, 0)[:, None].float() for x in (image, reconstruction))
    values, _ = compute_ssim_and_cs(a, b, 2, (window, window), (1.5, 1.5), data_range)
    half = window // 2
    inside = mask[0].movedim(-1, 0)[:, None, half:-half, half:-half]
    return float(values[inside].double().mean())


def voxel_auroc(values: NDArray | Tensor, lesion: NDArray | Tensor) -> float:
    """Area under the ROC curve: the probability that a lesion voxel has a higher value than another voxel (ties: half).

    Args:
        values: map values of the gland's voxels, ``[V]``.
        lesion: bool ``[V]``, True in lesion voxels.

    Returns:
        NaN where one of the classes is empty.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import voxel_auroc
        >>> voxel_auroc(torch.tensor([0.1, 0.4, 0.3, 0.8]), torch.tensor([False, False, True, True]))  # 3 of 4 pairs
        0.75
    """
    x, y = np.asarray(values, dtype=np.float64).ravel(), np.asarray(lesion, dtype=bool).ravel()
    positives, negatives = int(y.sum()), int((~y).sum())
    if not positives or not negatives:
        return float("nan")
    return float((rankdata(x)[y].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def voxel_ap(values: NDArray | Tensor, lesion: NDArray | Tensor) -> float:
    """Average precision: sum of (R_n - R_n-1) P_n over the thresholds. Arguments as in :func:`voxel_auroc`.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import voxel_ap
        >>> voxel_ap(torch.tensor([0.8, 0.4, 0.3, 0.1]), torch.tensor([True, False, False, True]))  # (1 + 2 / 4) / 2
        0.75
    """
    x, y = np.asarray(values, dtype=np.float64).ravel(), np.asarray(lesion, dtype=bool).ravel()
    if not y.any() or y.all():
        return float("nan")
    order = np.argsort(-x, kind="stable")
    last = np.append(np.flatnonzero(np.diff(x[order])), len(x) - 1)  # voxels of one value are crossed together
    hits = np.cumsum(y[order])[last]
    precision, recall = hits / (last + 1), hits / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0) * precision))


def trivial_maps(study: Mapping[str, Tensor], spacing: Sequence[float], sigma: float = 2.0) -> dict[str, Tensor]:
    """Maps that need no training, as baselines for the maps of a generator.

    Args:
        study: normalized ``t2w``, ``adc``, ``hbv``, each ``[1, X, Y, Z]``.
        spacing: mm per voxel along each axis.
        sigma: standard deviation of the smoothing in mm, in the plane of the slices.

    Returns:
        ``inverted_t2w``, ``inverted_adc``, ``high_b``, and the same smoothed: ``smooth_t2w``, ``smooth_adc`` (both
        inverted) and ``smooth_high_b``.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import trivial_maps
        >>> study = {name: torch.ones(1, 8, 8, 2) for name in ("t2w", "adc", "hbv")}
        >>> sorted(trivial_maps(study, spacing=(0.5, 0.5, 3.0)))
        ['high_b', 'inverted_adc', 'inverted_t2w', 'smooth_adc', 'smooth_high_b', 'smooth_t2w']
    """
    blur = [sigma / spacing[0], sigma / spacing[1], 0]

    def smooth(image: Tensor) -> Tensor:
        return torch.from_numpy(ndimage.gaussian_filter(np.asarray(image[0], dtype=np.float32), blur))[None]

    return {
        "inverted_t2w": -study["t2w"],
        "inverted_adc": -study["adc"],
        "high_b": study["hbv"],
        "smooth_t2w": -smooth(study["t2w"]),
        "smooth_adc": -smooth(study["adc"]),
        "smooth_high_b": smooth(study["hbv"]),
    }
