"""Which points of a set stand for all of it: the typical first, then those that cover what is left."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pick", "cover", "distances", "find_outliers"]

BLOCK = 256  # candidates that are weighed at a time: memory stays that of the distances
NEIGHBOURS = 5  # at most, whose mean distance says how far from all others a point lies
ONE_IN = 20  # of the points: as many neighbours, so that a group of a twentieth of all is none of outliers
FAR = 5.0  # robust standard deviations above the median of these distances
SAME = 1e-5  # relative gap below which two gains are equal


@dataclass(frozen=True)
class Pick:
    """A chosen point.

    Attributes:
        index: of the point.
        distance: to the nearest point that was chosen before; NaN for the first.
        coverage: share of the way from no choice (0) to all points being chosen (1), with this one.
    """

    index: int
    distance: float
    coverage: float


def distances(features: NDArray[Any]) -> NDArray[np.float32]:
    """Euclidean distances between all points ``[N, D]``: symmetric ``[N, N]``, the diagonal 0.

    Example:
        >>> distances(np.array([[0.0, 0.0], [3.0, 4.0]])).tolist()
        [[0.0, 5.0], [5.0, 0.0]]
    """
    points = np.asarray(features, dtype=np.float64)
    points = points - points.mean(0)
    squares = (points**2).sum(1)
    found = np.empty((len(points), len(points)), dtype=np.float32)
    for start in range(0, len(points), BLOCK):
        part = slice(start, start + BLOCK)
        gap = squares[part, None] + squares - 2 * points[part] @ points.T
        # what is left of two equal points is rounding
        gap[gap < 1e-12 * (squares[part, None] + squares)] = 0
        found[part] = np.sqrt(gap)
    np.fill_diagonal(found, 0)
    return np.maximum(found, found.T)


def find_outliers(distance: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Points far from all others: their mean distance to the nearest ones lies far above that of most points.

    Far is five robust standard deviations above the median, and twice the median. The nearest are a twentieth of all
    points, one at least and five at most. Of fewer than eight points none is an outlier.

    Args:
        distance: ``[N, N]``, of :func:`distances`.
    """
    number = len(distance)
    if number < 8:
        return np.zeros(number, dtype=bool)
    count = min(NEIGHBOURS, max(1, number // ONE_IN))
    nearest = np.partition(distance, count, axis=1)[:, : count + 1].sum(1) / count  # itself is one, at 0
    middle = np.median(nearest)
    spread = 1.4826 * np.median(np.abs(nearest - middle))
    return nearest > max(middle + FAR * spread, 2 * middle)


def cover(
    distance: NDArray[np.float32],
    num: int,
    names: Sequence[str],
    chosen: Collection[int] = (),
    allowed: Collection[int] | None = None,
    demand: NDArray[Any] | None = None,
) -> list[Pick]:
    """Choose points one after the other, each the one that brings the set nearest to what is chosen.

    A point is served by the nearest chosen one. The sum of what all points gain by that is submodular, so the greedy
    choice reaches at least 1 - 1/e of the best (facility location; Nemhauser, Wolsey & Fisher 1978). The first point is
    the medoid, the most typical one; a copy of a chosen point gains nothing. The choice depends on the points and their
    names, not on their order.

    Args:
        distance: ``[N, N]``, of :func:`distances`.
        num: points to choose.
        names: of the points, which settle ties.
        chosen: points that are chosen already.
        allowed: points to choose from; by default all others.
        demand: weight ``[N]`` of each point's gain, 0 for one that need not be covered; by default 1.

    Returns:
        The picks in their order.

    Raises:
        ValueError: fewer points are allowed than are to be chosen.

    Example:
        >>> points = np.array([[0.0], [1.0], [2.0], [10.0], [10.0]])
        >>> [pick.index for pick in cover(distances(points), 2, "abcde")]
        [2, 3]
    """
    order = sorted(range(len(names)), key=lambda index: names[index])
    d = distance[np.ix_(order, order)]
    weight = np.ones(len(d)) if demand is None else np.asarray(demand, dtype=np.float64)[order]
    free = np.array([i not in chosen and (allowed is None or i in allowed) for i in order], dtype=bool)
    if free.sum() < num:
        raise ValueError(f"{num} points are to be chosen, {int(free.sum())} are allowed")
    worst = float(d.max(initial=0))
    taken = [place for place, index in enumerate(order) if index in chosen]
    near = d[:, taken].min(1) if taken else np.full(len(d), worst, dtype=np.float32)
    whole = max(float(weight.sum()) * worst, 1e-30)
    picks = []
    for number in range(num):
        gain = np.concatenate([_gains(d[:, i : i + BLOCK], near, weight) for i in range(0, len(d), BLOCK)])
        gain[~free] = -1
        best = int(np.flatnonzero(gain >= gain.max() - SAME * abs(gain.max()))[0])
        first = not taken and not number
        apart = float("nan") if first else float(near[best])
        near, free[best] = np.minimum(near, d[:, best]), False
        picks.append(Pick(order[best], apart, 1 - float(weight @ near) / whole))
    return picks


def _gains(columns: NDArray[np.float32], near: NDArray[np.float32], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each of some candidates would gain all points, ``[n]``, from their distances ``[N, n]``."""
    return weight @ np.maximum(near[:, None] - columns, 0).astype(np.float64)
