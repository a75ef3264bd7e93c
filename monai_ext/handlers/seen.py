"""Patients on whom a network is judged must not have taught it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from monai_ext.data import patients_of
from monai_ext.errors import ConfigError

__all__ = ["patients_in", "refuse_seen"]

logger = logging.getLogger(__name__)


def patients_in(dataset: Any) -> list[str]:
    """The patients of a data set, sorted, through the data sets that it wraps; none if its items name no cases.

    Example:
        >>> patients_in([{"id": "b"}, {"id": "a", "patient": "p"}])
        ['b', 'p']
    """
    while not isinstance(dataset, Sequence) and hasattr(dataset, "data"):
        dataset = dataset.data
    items = dataset if isinstance(dataset, Sequence) else ()
    named = [item for item in items if isinstance(item, Mapping) and {"id", "patient"} & item.keys()]
    return sorted(patients_of(named))


def refuse_seen(seen: Mapping[str, Iterable[str]], judged: Sequence[str], allow: bool) -> dict[str, list[str]]:
    """Refuse weights that have learned from patients on whom they are judged.

    Args:
        seen: patients behind each file of weights, by the setting that names it.
        judged: patients of the validation or of the evaluation.
        allow: True accepts them with a warning.

    Returns:
        These patients, by setting.

    Raises:
        ConfigError: there are some.
    """
    found = {key: both for key, patients in seen.items() if (both := sorted({*patients} & {*judged}))}
    for key, both in found.items():
        named = f"{', '.join(both[:5])}{', ...' if len(both) > 5 else ''}"
        text = f"{key} has learned from {len(both)} of the {len(judged)} patients it is judged on ({named})"
        if not allow:
            raise ConfigError(f"{text}. Judge it on others, or give --allow_seen true, which the report then tells")
        logger.warning("%s: a figure of this run says nothing about new patients", text)
    return found
