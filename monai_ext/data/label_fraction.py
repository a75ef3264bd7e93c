"""Draw a share of the patients, to train as if only they had labels."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

from monai_ext.data.datalist import load_datalist
from monai_ext.data.entries import Folds, Item, case_of, patient_of, read_datalist
from monai_ext.errors import DataError

__all__ = ["draw_patients", "load_labelled", "load_scans", "load_unlabelled", "patients_of"]

logger = logging.getLogger(__name__)


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


def load_labelled(
    path: str | Path,
    dataset_dir: str | Path,
    folds: Folds = None,
    exclude_folds: Folds = None,
    fraction: float = 1.0,
    count: int | None = None,
    seed: int = 0,
) -> list[Item]:
    """Training items of a datalist that have a label, all of them or those of some patients.

    How many have none, and so are for a pretraining alone, is logged.

    Args:
        path: path of the datalist.
        dataset_dir: the directory that its paths are relative to.
        folds: folds to keep; None keeps all.
        exclude_folds: folds to leave out, for example the validation fold.
        fraction: share of the patients, see :func:`draw_patients`.
        count: number of patients, instead of a share.
        seed: seed of the draw.

    Raises:
        DataError: as of :func:`load_datalist` and :func:`draw_patients`; or no item has a label.
    """
    items = load_datalist(path, dataset_dir, folds=folds, exclude_folds=exclude_folds)
    labelled = [item for item in items if item.get("label")]
    if items and not labelled:
        raise DataError(
            f"none of {len(items)} training cases in {path} has a label",
            "Give their masks under the key label, or run the pretraining alone.",
        )
    if len(labelled) < len(items):
        logger.info("%d of %d cases have no label: they are not segmented", len(items) - len(labelled), len(items))
    return draw_patients(labelled, fraction, seed, count)


def load_scans(
    path: str | Path,
    dataset_dir: str | Path,
    exclude_folds: Folds = None,
    fraction: float = 1.0,
    count: int | None = None,
    seed: int = 0,
) -> list[Item]:
    """All scans of a datalist for a pretraining that looks at labels too, where it has them.

    They are those of ``training`` and ``unlabelled``. A patient whom :func:`load_labelled` leaves out by the same
    arguments comes without a label here, so the pretraining knows no more of the lesions than the fine-tuning.

    Args:
        path: path of the datalist.
        dataset_dir: the directory that its paths are relative to.
        exclude_folds: folds to leave out, for example the validation fold.
        fraction: share of the patients with a label, see :func:`draw_patients`.
        count: number of patients with a label, instead of a share.
        seed: seed of the draw.

    Raises:
        DataError: as of :func:`load_datalist` and :func:`draw_patients`.
    """
    items = load_datalist(path, dataset_dir, exclude_folds=exclude_folds, optional_sections=["unlabelled"])
    if fraction == 1 and count is None:
        return items
    training = set(map(case_of, read_datalist(path)["training"]))
    labelled = [item for item in items if item.get("label") and case_of(item) in training]
    drawn = set(patients_of(draw_patients(labelled, fraction, seed, count)))
    return [
        item if patient_of(item) in drawn else {key: value for key, value in item.items() if key != "label"}
        for item in items
    ]


def load_unlabelled(
    path: str | Path,
    dataset_dir: str | Path,
    exclude_folds: Folds = None,
    fraction: float = 1.0,
    count: int | None = None,
    seed: int = 0,
) -> list[Item]:
    """The scans that :func:`load_labelled` leaves out by the same arguments, for a self-training: none has a label.

    They are the cases of ``training`` without a label, those of the patients that were not drawn, whose labels are left
    out, and all of ``unlabelled``.

    Args:
        path: path of the datalist.
        dataset_dir: the directory that its paths are relative to.
        exclude_folds: folds to leave out, for example the validation fold.
        fraction: share of the patients with a label, see :func:`draw_patients`.
        count: number of patients with a label, instead of a share.
        seed: seed of the draw.

    Raises:
        DataError: as of :func:`load_labelled`; or every scan has a label that is used.
    """
    labelled = set(map(case_of, load_labelled(path, dataset_dir, None, exclude_folds, fraction, count, seed)))
    items = load_datalist(path, dataset_dir, exclude_folds=exclude_folds, optional_sections=["unlabelled"])
    found = [
        {key: value for key, value in item.items() if key != "label"} for item in items if case_of(item) not in labelled
    ]
    if not found:
        raise DataError(
            f"all {len(items)} scans of {path} have a label: a self-training has nothing to label",
            "Give scans without labels in the section unlabelled, or leave the self-training out.",
        )
    return found
