"""What the reconstructions and maps of a case are worth, beside maps that need no training and the ideal one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monai_ext.metrics import (
    change_outside,
    difference_correlation,
    removed_share,
    trivial_maps,
    voxel_ap,
    voxel_auroc,
)
from monai_ext.transforms import GENERATOR_SCALES, AnomalyMapper, Views, anomaly_map, onto_grid

__all__ = ["LESION_SIGN", "compare_maps", "counterfactual_keys", "judge_case", "map_gains"]

# Significant cancer is dark on T2W and ADC and bright on high-b: where a signed map has to point.
LESION_SIGN = {"t2w": -1.0, "adc": -1.0, "hbv": 1.0}
KINDS = ("map", "signed")


def counterfactual_keys() -> dict[str, str]:
    """Key of the image without lesion by modality, as the phantom names it: ``healthy_adc``."""
    return {modality: f"healthy_{modality}" for modality in LESION_SIGN}


def show_maps(views: Views, reconstructions: Mapping[str, Tensor], mapper: AnomalyMapper) -> dict[str, Tensor]:
    """Maps that may show lesions as high values: the absolute ones, and signed ones turned the way cancer points.

    Both kinds come from the same reconstructions, whichever of them is written; ``mean`` is over the modalities.
    """
    found: dict[str, Tensor] = {}
    for kind in KINDS:
        signed = kind == "signed"
        maps = {
            m: (LESION_SIGN[m] if signed else 1.0)
            * anomaly_map(image, reconstructions[m], views.gland, mapper.spacing, mapper.sigma, signed)
            for m, image in views.images.items()
        }
        if len(maps) > 1:
            maps["mean"] = torch.stack(list(maps.values())).mean(0)
        found |= {f"{kind}_{m}": values for m, values in maps.items()}
    return found


def judge_case(
    study: Mapping[Any, Any],
    views: Views,
    truth: Tensor,
    mapper: AnomalyMapper,
    leaking: Views | None = None,
    healthy: Mapping[Any, Any] | None = None,
) -> dict[str, float]:
    """Measures of a case with lesion, over the voxels of its gland on the generators' grid.

    ``auroc_*`` and ``ap_*`` separate lesion from gland: of the generators' maps (``map_hbv``, ``signed_hbv``), of
    ``trivial_*`` maps, and of the maps that a ``constant`` reconstruction would get, which is the gland's mean and
    knows nothing of lesions. ``change_outside_*`` is the RMS of x - G(x) outside lesions, as a share of the range. With
    the counterfactual h there are also the maps of the ``oracle`` G = h, ``removed_*`` (share of the lesion's signal)
    and ``correlation_*`` (of x - G(x) and x - h), and voxels that the lesion has changed do not count as outside.

    Args:
        study: of the preprocessing, on the grid of T2W.
        views: of the generator that makes this patient's maps.
        truth: bool lesion mask ``[1, X, Y, Z]`` on the grid of the views.
        mapper: that made the views.
        leaking: views of a generator that has learned from this patient, for ``insample_*``.
        healthy: study of the patient without the lesion.
    """
    gland, shape = views.gland, views.gland.shape[1:]
    whole = {m: onto_grid(study[m], views.affine, shape).as_tensor() for m in LESION_SIGN}
    constant = {m: torch.full_like(x, x[gland].mean().item()) for m, x in views.images.items()}
    reconstructions = {"": views.reconstructions, "constant_": constant}
    if leaking is not None:
        reconstructions["insample_"] = leaking.reconstructions
    ideal: dict[str, Tensor] = {}
    if healthy is not None:
        for m in views.images:
            ideal[m] = onto_grid(healthy[m], views.affine, shape).as_tensor().clamp(*GENERATOR_SCALES[m].range)
        reconstructions["oracle_"] = ideal
    maps = {f"trivial_{name}": values for name, values in trivial_maps(whole, mapper.spacing).items()}
    for prefix, made in reconstructions.items():
        maps |= {f"{prefix}{name}": values for name, values in show_maps(views, made, mapper).items()}
    lesion = truth & gland
    found = {}
    for name, values in maps.items():
        found[f"auroc_{name}"] = voxel_auroc(values[gland], lesion[gland])
        found[f"ap_{name}"] = voxel_ap(values[gland], lesion[gland])
    for m, image in views.images.items():
        low, high = GENERATOR_SCALES[m].range
        outside = gland & ~lesion
        if m in ideal:
            outside &= (image - ideal[m]).abs() < 0.01 * (high - low)
        for prefix, made in reconstructions.items():
            found[f"{prefix}change_outside_{m}"] = change_outside(image, made[m], outside, high - low)
            if m in ideal:
                found[f"{prefix}removed_{m}"] = removed_share(image, made[m], ideal[m], lesion)
                found[f"{prefix}correlation_{m}"] = difference_correlation(image, made[m], ideal[m], gland)
    return found


def plain_maps(modality: str, names: Iterable[str]) -> list[str]:
    """Of the names of maps, those that need no training and show this modality."""
    about = "high_b" if modality == "hbv" else modality
    plain = ("trivial_", "constant_")
    return [
        n for n in names if n.startswith(plain) and (modality == "mean" or n.endswith(about) or n.endswith(modality))
    ]


def map_gains(cases: Iterable[dict[str, float]]) -> None:
    """Add ``gain_<map>`` to every case: its AUROC less that of the best map that needs no training.

    The best one is that of the same modality with the highest mean over the cases, a constant reconstruction included.
    """
    cases = list(cases)
    means = _means(cases)
    for name in [n for n in means if n.startswith(tuple(f"{kind}_" for kind in KINDS))]:
        rivals = plain_maps(name.split("_")[-1], means)
        best = max(rivals, key=means.__getitem__, default=None)
        for case in cases:
            if best is not None and f"auroc_{name}" in case:
                case[f"gain_{name}"] = case[f"auroc_{name}"] - case[f"auroc_{best}"]


def _means(cases: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Mean AUROC by the name of the map."""
    values: dict[str, list[float]] = {}
    for case in cases:
        for name, value in case.items():
            if name.startswith("auroc_") and not np.isnan(value):
                values.setdefault(name.removeprefix("auroc_"), []).append(value)
    return {name: float(np.mean(found)) for name, found in values.items()}


def compare_maps(metrics: Mapping[str, Mapping[str, Any]], section: str) -> list[str]:
    """In words, by modality: is a generator's map better than those without training, and does it show lesions at all?

    A map is named as one that games the AUROC where a constant reconstruction gets as much with the same kind of map
    and the generator changes more than half as much outside lesions: the map then shows the image itself.

    Args:
        metrics: of the report; those named ``*_<section>`` are compared by their means.
        section: of the datalist.

    Returns:
        Nothing when the section has no lesion to judge by.
    """
    known = {
        name.removesuffix(f"_{section}"): row["mean"]
        for name, row in metrics.items()
        if name.endswith(f"_{section}") and row["mean"] is not None
    }
    means = {name.removeprefix("auroc_"): mean for name, mean in known.items() if name.startswith("auroc_")}
    lines = []
    for modality in [*LESION_SIGN, "mean"]:
        made = [name for kind in KINDS if (name := f"{kind}_{modality}") in means]
        rivals = plain_maps(modality, means)
        if not made or not rivals:
            continue
        plain = max(rivals, key=means.__getitem__)
        for ours in made:
            better = "separates" if means[ours] > means[plain] else "does NOT separate"
            text = (
                f"{section}: {ours} (AUROC {means[ours]:.3f}) {better} lesion from gland better than the best map of "
                f"this modality that needs no training, {plain} ({means[plain]:.3f})"
            )
            constant = means.get(f"constant_{ours}")
            if constant is not None and means[ours] > 0.5 and constant >= means[ours]:
                text += f"; a constant reconstruction gets {constant:.3f}"
                whole = known.get(f"constant_change_outside_{modality}")
                if whole is not None and known[f"change_outside_{modality}"] > whole / 2:
                    text += ", and this one changes as much: it GAMES the AUROC"
            if (removed := known.get(f"removed_{modality}")) is not None:
                outside = known[f"change_outside_{modality}"]
                text += (
                    f"; {removed:.0%} of the lesions' signal is removed, RMS change outside {outside:.3f} of the range"
                )
            lines.append(text)
    return lines
