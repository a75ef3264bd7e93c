"""Add anomaly maps to cases, and refuse maps that leak."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from monai_ext.data.entries import Item, case_of
from monai_ext.data.generator_plan import GeneratorPlan
from monai_ext.data.preflight import PreflightError, Problem
from monai_ext.data.provenance import refuse_leaking_maps
from monai_ext.transforms.anomaly_mapper import AnomalyMapper
from monai_ext.transforms.prostate import map_key

__all__ = ["map_file", "with_maps"]

logger = logging.getLogger(__name__)


def map_file(folder: str | Path, case: str, modality: str) -> Path:
    """Path of the map of a case: ``<folder>/<case>/<case>_adc_map.nii.gz``."""
    return Path(folder) / case / f"{case}_{map_key(modality)}.nii.gz"


def with_maps(
    items: Sequence[Item],
    folder: str | Path | None,
    modalities: Sequence[str],
    plan: GeneratorPlan | None = None,
    control: bool = False,
    shuffle: bool = False,
    mapper: AnomalyMapper | None = None,
) -> list[Item]:
    """Add the maps' files to the items, and refuse leaking ones and those without provenance, those of the items too.

    See :func:`refuse_leaking_maps`.

    Args:
        items: items of a datalist.
        folder: output folder of the anomaly-map phase; None adds nothing.
        modalities: modalities whose maps are added; an empty list leaves the items unchanged.
        plan: plan of the generators; patients on whom the only generator was trained are left out, and the log counts
            them. None keeps all patients.
        control: True accepts leaking maps, with a warning.
        mapper: mapper that makes missing maps in the preprocessing; without it missing maps are errors.
        shuffle: True gives every case the maps of the next case instead of its own, as a control experiment; the item's
            ``maps_of`` names that case.

    Raises:
        PreflightError: lists all missing, leaking and exchanged maps; also raised when no case is left.
    """
    kept = [item for item in items if plan is None or plan.generator_of(str(item["patient"])) is not None]
    if len(kept) < len(items):
        logger.info(
            "%d of %d cases were used to train the generators and are left out", len(items) - len(kept), len(items)
        )
    if items and not kept:
        remedy = "Use --scheme crossfit, or a smaller --share."
        raise PreflightError([Problem("error", "all", "", "every case was used to train the generators", remedy)])
    found = []
    for number, item in enumerate(kept):
        source = kept[(number + 1) % len(kept)] if shuffle else item
        files = {} if folder is None else {map_key(m): map_file(folder, case_of(source), m) for m in modalities}
        if mapper is not None and not any(file.exists() for file in files.values()):
            found.append(item)
            continue
        maps = {key: str(file) for key, file in files.items()}
        found.append(item | maps | ({"maps_of": case_of(source)} if shuffle else {}))
    refuse_leaking_maps(found, [map_key(m) for m in modalities], control or shuffle, may_lack=mapper is not None)
    return found
