"""Draw a share of the patients, to train as if only they had labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from monai_ext.data.entries import Item, patient_of
from monai_ext.errors import DataError

__all__ = ["draw_patients", "patients_of"]


def patients_of(items: Sequence[Item]) -> list[str]:
    """The patients of items, each once, in order of first appearance."""
    return list(dict.fromkeys(patient_of(item) for item in items))


def draw_patients(items: Sequence[Item], fraction: float = 1.0, seed: int = 0, count: int | None = None) -> list[Item]:
    """Items of a random share of the patients that have a label (AMLP, 4.2: "5 %, and 10 % annotations").

    Whole patients are drawn, never slices. The draw depends only on the seed and on the patients' ids, and a smaller
    share is part of every larger one with the same seed. A fraction of 1 returns all items, including those without a
    label.

    Args:
        items: items from :func:`load_datalist`.
        fraction: share of the patients, rounded to a whole number of at least one patient.
        seed: seed of the draw.
        count: number of patients, instead of a share.

    Returns:
        The items of the drawn patients, in their order.

    Raises:
        ValueError: when the fraction is not in (0, 1], or the count below 1.
        DataError: when no item has a label, or fewer patients than ``count`` have one.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"a label fraction lies above 0 and up to 1, got {fraction}")
    if count is not None and count < 1:
        raise ValueError(f"at least one patient must be drawn, got {count}")
    if fraction == 1 and count is None:
        return list(items)
    known = patients_of([item for item in items if item.get("label")])
    if not known:
        raise DataError("no case has a label to draw from", "Give labels in the datalist, or fraction 1.")
    if count is not None and count > len(known):
        raise DataError(f"{count} patients were requested, but only {len(known)} have a label", "Ask for fewer.")
    number = max(1, round(fraction * len(known))) if count is None else count
    order = sorted(known, key=lambda patient: hashlib.sha256(f"{seed} {patient}".encode()).hexdigest())
    drawn = set(order[:number])
    return [item for item in items if item.get("label") and patient_of(item) in drawn]
