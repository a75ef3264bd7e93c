"""Losses of BYOL and SwAV over two views of each image; SimCLR's loss is MONAI's ``ContrastiveLoss``."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["byol_loss", "sinkhorn", "swav_loss"]


def byol_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Squared distance of the normalized vectors, 2 - 2 cos (BYOL, Grill et al. 2020, eq. 2).

    Args:
        prediction: ``[B, D]`` of the online network.
        target: ``[B, D]`` of the target network, which gets no gradient.

    Returns:
        Scalar, fp32.
    """
    return (2 - 2 * F.cosine_similarity(prediction.float(), target.detach().float(), dim=1)).mean()


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float = 0.05, iterations: int = 3) -> Tensor:
    """Soft assignments of a batch that use all prototypes equally (SwAV, Caron et al. 2020, eq. 3 to 5).

    Args:
        scores: ``[B, K]``, similarities to the prototypes.
        epsilon: smoothness of the assignment.
        iterations: iterations of the Sinkhorn-Knopp algorithm.

    Returns:
        ``[B, K]``, rows of sum 1, columns of sum B / K up to convergence.
    """
    # Shifted so that the exponential cannot overflow; a constant factor of all entries is normalized away.
    share = ((scores.float() - scores.max()) / epsilon).exp()
    for _ in range(iterations):
        share = share / share.sum(0, keepdim=True).clamp(min=1e-30) / scores.shape[1]
        share = share / share.sum(1, keepdim=True).clamp(min=1e-30) / len(scores)
    return share * len(scores)


def swav_loss(first: Tensor, second: Tensor, temperature: float = 0.1, epsilon: float = 0.05) -> Tensor:
    """Predict the assignment of one view from the other (SwAV, eq. 1 and 2), averaged over both directions.

    Args:
        first: ``[B, K]``, similarities of one view of each image to the prototypes.
        second: ``[B, K]``, similarities of the other view.
        temperature: temperature of the prediction.
        epsilon: smoothness of the assignment, see :func:`sinkhorn`.

    Returns:
        Scalar, fp32.
    """
    terms = [
        -(sinkhorn(code, epsilon) * F.log_softmax(scores.float() / temperature, dim=1)).sum(1).mean()
        for scores, code in ((first, second), (second, first))
    ]
    return torch.stack(terms).mean()
