"""The clusterings that AMLP compares with k-means (table 6), by scikit-learn, image by image on the CPU."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monai_ext.errors import ConfigError
from monai_ext.networks.blocks.two_means import two_means

__all__ = ["split_on_host"]

Points = NDArray[np.float32]
Split = NDArray[np.bool_]


def split_on_host(points: Tensor, valid: Tensor, method: str) -> Tensor:
    """Split each set of points in two, like :func:`two_means`. The paper names the methods but no parameters.

    - ``hierarchical``: Ward's agglomerative clustering, cut at two clusters.
    - ``tsne``: t-SNE to two dimensions, which is not a clustering, and then k-means on the embedding.
    - ``dbscan``: the largest dense cluster against all other points, that is noise and other clusters.

    Args:
        points: points ``[B, N, D]``.
        valid: bool ``[B, N]``, True for the points to use.
        method: method of clustering, ``hierarchical``, ``tsne`` or ``dbscan``.

    Returns:
        bool ``[B, N]``, on the device of the points.

    Raises:
        ConfigError: when scikit-learn is not installed.
    """
    try:
        import sklearn  # noqa: F401  # late: an optional package
    except ImportError as error:
        raise ConfigError(f"clustering by {method!r} needs scikit-learn: pip install scikit-learn") from error
    cluster = METHODS[method]
    split = np.zeros(valid.shape, dtype=bool)
    for row, x, use in zip(split, points.cpu().numpy(), valid.cpu().numpy()):
        if use.sum() > 1 and np.ptp(x[use], axis=0).any():
            row[use] = cluster(x[use])
    return torch.from_numpy(split).to(points.device)


def _hierarchical(x: Points) -> Split:
    from sklearn.cluster import AgglomerativeClustering  # late: an optional package

    return AgglomerativeClustering(n_clusters=2).fit_predict(x) == 1


def _tsne(x: Points) -> Split:
    from sklearn.manifold import TSNE  # late: an optional package

    if len(x) < 4:
        return two_means(torch.from_numpy(x)[None])[0].numpy()
    perplexity = min(30.0, (len(x) - 1) / 3)
    embedded = TSNE(perplexity=perplexity, init="random", random_state=0).fit_transform(x)
    return two_means(torch.from_numpy(embedded)[None])[0].numpy()


def _dbscan(x: Points, neighbors: int = 5) -> Split:
    from sklearn.cluster import DBSCAN  # late: an optional package
    from sklearn.neighbors import NearestNeighbors  # late: an optional package

    # A radius within which 75 % of the points have their neighbours: the denser part of the patches forms clusters.
    count = min(neighbors, len(x))
    distance = NearestNeighbors(n_neighbors=count).fit(x).kneighbors(x)[0][:, -1]
    labels = DBSCAN(eps=max(float(np.percentile(distance, 75)), 1e-6), min_samples=count).fit_predict(x)
    largest = np.bincount(labels[labels >= 0]).argmax() if (labels >= 0).any() else -1
    return labels != largest


METHODS: dict[str, Callable[[Points], Split]] = {"hierarchical": _hierarchical, "tsne": _tsne, "dbscan": _dbscan}
