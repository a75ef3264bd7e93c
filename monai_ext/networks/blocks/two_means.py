"""k-means with two clusters for a whole batch of point sets, on the device and without randomness."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["two_means"]

POWER_STEPS = 3  # steps of the power iteration that finds the first direction


@torch.no_grad()
def two_means(points: Tensor, valid: Tensor | None = None, steps: int = 10) -> Tensor:
    """Split each set of points in two by Lloyd's k-means, k = 2.

    The start is deterministic instead of random: the points are ordered by a score, and of all N - 1 ways to cut the
    sequence in two the one with the greatest between-cluster variance is taken. The scores are the (approximate) first
    principal component and the mean value. The better of the two cuts is improved by one more cut along the line
    through its centroids. Then ``steps`` Lloyd's steps follow, usually more than needed, because a test of convergence
    would wait for the device.

    The points are centered, so the sums s of the two clusters are opposite, their centroids lie along s, and both the
    between-cluster variance, ``|s|^2 n / (n_1 n_0)``, and the assignment need only s and the sizes n_1 and n_0.

    Args:
        points: ``[B, N, D]``, finite where ``valid``.
        valid: bool ``[B, N]``, True for the points to use; by default all points.
        steps: number of Lloyd's steps.

    Returns:
        bool ``[B, N]``, True in an arbitrary one of the two clusters, False in the other and at invalid points. All
        False if the points of a set are equal.
    """
    valid = torch.ones_like(points[..., 0], dtype=torch.bool) if valid is None else valid
    with torch.autocast(points.device.type, enabled=False):
        x = _center(points.float(), valid)
        split, between = _best_cut(x, valid, _principal_scores(x))
        other, other_between = _best_cut(x, valid, x.mean(-1))
        split = torch.where(between > other_between, split, other)
        split, _ = _best_cut(x, valid, _project(x, _sum(x, split)))
        for _ in range(steps):
            split = _lloyd_step(x, valid, split)
    return split


def _center(points: Tensor, valid: Tensor) -> Tensor:
    """Subtract the mean of the valid points; invalid points, and sets that are constant up to rounding, become 0."""
    weight = valid.to(points.dtype)[..., None]
    x = points.nan_to_num(0, 0, 0).mul_(weight)
    largest = _magnitude(x)
    x.sub_(x.sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)).mul_(weight)
    return x.mul_(_magnitude(x) > 1e-5 * largest)


def _magnitude(x: Tensor) -> Tensor:
    """Largest absolute value of each set, ``[B, 1, 1]``."""
    return torch.maximum(x.amax((1, 2), keepdim=True), -x.amin((1, 2), keepdim=True))


def _sum(x: Tensor, split: Tensor) -> Tensor:
    """Sum of the points of a cluster, ``[B, 1, D]``."""
    return torch.bmm(split.to(x.dtype)[:, None], x)


def _project(x: Tensor, direction: Tensor) -> Tensor:
    """Scalar product with ``[B, 1, D]``: ``[B, N]``."""
    return torch.bmm(x, direction.mT)[..., 0]


def _principal_scores(x: Tensor) -> Tensor:
    """Scores along the first principal component, by power iteration from the point that is farthest from the mean."""
    far = torch.linalg.vector_norm(x, dim=-1).argmax(1)
    direction = x.gather(1, far[:, None, None].expand(-1, 1, x.shape[-1]))
    for _ in range(POWER_STEPS):
        direction = torch.nn.functional.normalize(torch.bmm(_project(x, direction)[:, None], x), dim=-1)
    return _project(x, direction)


def _best_cut(x: Tensor, valid: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """The split into points of low and of high score with the greatest between-cluster variance.

    Returns the split, bool ``[B, N]``, and its between-cluster variance, up to a factor, ``[B, 1]``.
    """
    count = valid.sum(1, keepdim=True)
    order = scores.masked_fill(~valid, torch.inf).argsort(1)  # invalid points come last
    rows = order + torch.arange(x.shape[0], device=x.device)[:, None] * x.shape[1]
    sums = x.flatten(0, 1).index_select(0, rows.flatten()).view_as(x).cumsum_(1)  # far faster than gather
    low = torch.arange(1, x.shape[1] + 1, device=x.device)
    between = torch.linalg.vector_norm(sums, dim=-1).square() / (low * (count - low)).clamp(min=1)
    best, cut = between.masked_fill(low >= count, -1).max(1, keepdim=True)
    return torch.zeros_like(valid).scatter(1, order, low > cut + 1) & valid, best


def _lloyd_step(x: Tensor, valid: Tensor, split: Tensor) -> Tensor:
    """Assign each point to the nearer centroid, s / n_1 or -s / n_0."""
    total = _sum(x, split)
    ones = split.sum(1, keepdim=True)
    zeros = valid.sum(1, keepdim=True) - ones
    middle = total.square().sum(-1) / 2 * (1 / ones.clamp(min=1) - 1 / zeros.clamp(min=1))
    return (_project(x, total) > middle) & valid
