"""Which points of a set stand for all of it: the typical first, then those that cover what is left."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pick", "cover", "distances", "find_outliers", "reach_of"]

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
        coverage: how well all points are served with this one, from 0 to 1.
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
    """Choose points one after the other, each the one that serves best what is not served yet.

    A chosen point serves another by 1 at the same place, less in proportion to the distance, and not at all beyond the
    reach, the median of the distances between all that are to be served. Each is served by the chosen point that serves
    it most. The sum over all points is submodular, so the greedy choice reaches at least 1 - 1/e of the best (facility
    location; Nemhauser, Wolsey & Fisher 1978). The reach makes the first point the typical one, with most others about
    it, and keeps single points far away from coming early, which with few labels teach little (Hacohen, Dekel &
    Weinshall 2022; Yehuda et al. 2022). A copy of a chosen point gains nothing. The choice depends on the points and
    their names, not on their order.

    Args:
        distance: ``[N, N]``, of :func:`distances`.
        num: points to choose.
        names: of the points, which settle ties.
        chosen: points that are chosen already.
        allowed: points to choose from; by default all others.
        demand: weight ``[N]`` of each point, 0 for one that need not be served; by default 1.

    Returns:
        The picks in their order.

    Raises:
        ValueError: fewer points are allowed than are to be chosen.

    Example:
        >>> points = np.array([[0.0], [1.0], [2.0], [10.0], [10.0]])
        >>> [pick.index for pick in cover(distances(points), 2, "abcde")]
        [1, 3]
    """
    order = sorted(range(len(names)), key=lambda index: names[index])
    d = distance[np.ix_(order, order)]
    weight = np.ones(len(d)) if demand is None else np.asarray(demand, dtype=np.float64)[order]
    free = np.array([i not in chosen and (allowed is None or i in allowed) for i in order], dtype=bool)
    if free.sum() < num:
        raise ValueError(f"{num} points are to be chosen, {int(free.sum())} are allowed")
    reach = reach_of(d[np.ix_(weight > 0, weight > 0)])
    taken = [place for place, index in enumerate(order) if index in chosen]
    near = d[:, taken].min(1) if taken else np.full(len(d), np.inf, dtype=np.float32)
    whole = max(float(weight.sum()), 1e-30)
    picks = []
    for number in range(num):
        served = _service(near, reach)
        parts = (_service(d[:, i : i + BLOCK], reach) - served[:, None] for i in range(0, len(d), BLOCK))
        gain = np.concatenate([weight @ np.maximum(part, 0) for part in parts])
        gain[~free] = -1
        best = int(np.flatnonzero(gain >= gain.max() - SAME * abs(gain.max()))[0])
        apart = float("nan") if not taken and not number else float(near[best])
        near, free[best] = np.minimum(near, d[:, best]), False
        picks.append(Pick(order[best], apart, float(weight @ _service(near, reach)) / whole))
    return picks


def reach_of(distance: NDArray[np.float32]) -> float:
    """The median of the distances between different points; the largest one where most points are copies."""
    between = distance[np.triu_indices(len(distance), 1)]
    if not len(between):
        return 1.0
    return float(np.median(between)) or float(between.max()) or 1.0


def _service(distance: NDArray[np.float32], reach: float) -> NDArray[np.float64]:
    """How well a point serves others at these distances, from 1 down to 0 at the reach."""
    return np.clip(1 - distance.astype(np.float64) / reach, 0, 1)
