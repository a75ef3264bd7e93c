"""A pseudo-healthy reconstruction beside the counterfactual, the same patient without the lesion."""

from __future__ import annotations

import numpy as np
from torch import Tensor

__all__ = ["change_outside", "difference_correlation", "removed_share"]


def removed_share(image: Tensor, reconstruction: Tensor, healthy: Tensor, lesion: Tensor) -> float:
    """Share of the lesion's signal that a reconstruction removes: <x - G(x), x - h> / ||x - h||^2 over lesion voxels.

    1 for the counterfactual itself, 0 for the identity, negative where the lesion was made stronger. A change in the
    direction of x - h counts, whatever else happens; so read it beside :func:`change_outside`, which a constant
    reconstruction fails.

    Args:
        image: image x of any shape.
        reconstruction: reconstruction G(x) of the same shape.
        healthy: counterfactual h of the same shape.
        lesion: bool mask of the same shape.

    Returns:
        NaN where the lesion has no signal.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import removed_share
        >>> image, healthy = torch.tensor([0.0, 4.0]), torch.tensor([0.0, 2.0])
        >>> removed_share(image, torch.tensor([0.0, 3.0]), healthy, lesion=torch.tensor([False, True]))
        0.5
    """
    true = (image - healthy)[lesion].double()
    energy = true.square().sum().item()
    return (image - reconstruction)[lesion].double().dot(true).item() / energy if energy else float("nan")


def change_outside(image: Tensor, reconstruction: Tensor, outside: Tensor, data_range: float) -> float:
    """Root mean square of x - G(x) over gland voxels outside lesions, as a share of the intensity range.

    Args:
        image: image of any shape.
        reconstruction: reconstruction of the same shape.
        outside: bool mask of the same shape.
        data_range: largest minus smallest possible value.

    Returns:
        NaN for an empty mask.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import change_outside
        >>> image, outside = torch.tensor([0.0, 1.0]), torch.tensor([True, False])
        >>> change_outside(image, image + 0.5, outside, data_range=2.0)
        0.25
    """
    return (image - reconstruction)[outside].double().square().mean().sqrt().item() / data_range


def difference_correlation(image: Tensor, reconstruction: Tensor, healthy: Tensor, gland: Tensor) -> float:
    """Pearson correlation of x - G(x) and x - h over the gland; arguments as in :func:`removed_share`.

    Returns:
        NaN where one of them is constant, as for the identity.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import difference_correlation
        >>> image, healthy = torch.tensor([0.0, 4.0, 0.0]), torch.zeros(3)
        >>> round(difference_correlation(image, image - torch.tensor([0.0, 2.0, 0.0]), healthy, image >= 0), 6)
        1.0
    """
    pair = np.stack([(image - other)[gland].double().numpy() for other in (reconstruction, healthy)])
    return float("nan") if (pair.std(1) == 0).any() else float(np.corrcoef(pair)[0, 1])
