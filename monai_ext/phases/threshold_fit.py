"""Find the threshold of :class:`~monai_ext.networks.nets.UptakeThreshold` as a phase of a bundle."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from monai_ext.bundle import running_record
from monai_ext.data.io.json_file import write_json
from monai_ext.data.io.record import write_record
from monai_ext.errors import DataError
from monai_ext.handlers.seen import patients_in
from monai_ext.networks import save_atomically
from monai_ext.networks.nets.uptake_threshold import UptakeThreshold
from monai_ext.versions import versions

__all__ = ["dice_by_threshold", "fit_threshold"]

logger = logging.getLogger(__name__)


def dice_by_threshold(suv: Tensor, lesion: Tensor, thresholds: Tensor) -> Tensor:
    """Dice of {SUV > t} with the lesion for every t.

    Args:
        suv: of all voxels of a scan.
        lesion: bool, which of them are lesion; at least one.
        thresholds: ``[T]``, rising.

    Returns:
        ``[T]``.
    """
    # A voxel is above the first `place` thresholds: sums over the places from the end count the voxels above each.
    place = torch.bucketize(suv.flatten().double(), thresholds.double())
    weights = torch.stack([torch.ones_like(place), lesion.flatten().long()]).double()
    counts = torch.zeros(2, len(thresholds) + 1, dtype=torch.float64).index_add_(1, place, weights)
    above, hit = counts.flip(1).cumsum(1).flip(1)[:, 1:]
    return 2 * hit / (above + lesion.sum())


def fit_threshold(
    network: UptakeThreshold,
    data: Dataset,
    weights: str,
    output_dir: str,
    limits: tuple[float, float] = (1.1, 20.0),
    step: float = 0.1,
    validation: Dataset | None = None,
    settings: dict[str, Any] | None = None,
) -> float:
    """Set the threshold with the highest mean Dice over the scans with lesions; save it and a report.

    Args:
        network: takes the threshold.
        data: items with ``image`` ``[C, X, Y, Z]`` and ``label`` ``[1, X, Y, Z]``, such as a
            :class:`~monai_ext.data.VolumeDataset`.
        weights: file for the state of the network.
        output_dir: takes ``report.json``, as of a training.
        limits: smallest and largest SUV to try.
        step: between two of them.
        validation: scans on which the threshold is scored for the report.
        settings: anything else worth reporting.

    Returns:
        The threshold.

    Raises:
        DataError: when no scan has a lesion.
        CheckpointError: when the weights cannot be written.
    """
    started = time.time()
    thresholds = torch.arange(limits[0], limits[1] + step / 2, step)
    mean = mean_dice(network, data, thresholds)
    best = int(mean.argmax())
    network.threshold.fill_(float(thresholds[best]))
    save_atomically({"model": network.state_dict()}, weights)
    logger.info("SUV > %.2f: mean Dice %.4f on the scans it was found on", thresholds[best], mean[best])
    found = {"suv": float(thresholds[best]), "dice": float(mean[best])}
    if validation is not None:
        found["val_dice"] = float(mean_dice(network, validation, thresholds[best : best + 1])[0])
    report = {"phase": "training", "epochs": 1, "versions": versions(), "threshold": found, **(settings or {})}
    write_json({**report, "seconds": round(time.time() - started, 1)}, f"{output_dir}/report.json")
    if (record := running_record()) is not None:
        write_record(weights, {**record, "patients": {"train": patients_in(data)}})
    return float(thresholds[best])


def mean_dice(network: UptakeThreshold, data: Any, thresholds: Tensor) -> Tensor:
    """Mean over the scans with lesions of the Dice of every threshold: ``[T]``."""
    rows: Sequence[Tensor] = [
        dice_by_threshold(network.suv(item["image"].as_tensor()[None])[0], item["label"].as_tensor() > 0, thresholds)
        for item in (data[index] for index in range(len(data)))
        if bool((item["label"] > 0).any())
    ]
    if not rows:
        raise DataError("no scan has a lesion, so that no threshold can be found", "Check the labels and the split.")
    return torch.stack(list(rows)).mean(0)
