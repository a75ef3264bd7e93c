"""The cases of a phantom: their sections, folds and ids, and a generator of random numbers for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator

from monai_ext.processes import num_cores
from monai_ext.progress_bar import progress_bar

__all__ = ["Case", "cohort", "make_cases"]

MAX_THREADS = 8  # each holds the scan of a case


@dataclass(frozen=True)
class Case:
    """A case to be made.

    Args:
        item: ``id``, ``patient`` and ``fold`` (no fold in the test set); the files are added to it.
        section: section of the datalist.
        diseased: False for every third training case and every second of the others.
        rng: generator that depends only on the seed, the section and the number of the case.
    """

    item: dict[str, Any]
    section: str
    diseased: bool
    rng: Generator


def cohort(
    prefix: str, seed: int, num_training: int, num_validation: int, num_testing: int, num_unlabelled: int = 0
) -> Iterator[Case]:
    """Cases for training (fold 1), validation (fold 0), testing, and without label (fold 1).

    A case depends only on the seed, its section and its number, so a larger set begins with the cases of a smaller one.
    """
    sections = (
        ("training", 1, num_training, 3),
        ("training", 0, num_validation, 2),
        ("testing", None, num_testing, 2),
        ("unlabelled", 1, num_unlabelled, 2),
    )
    for number, (section, fold, count, period) in enumerate(sections):
        for index in range(count):
            name = f"{prefix}_{number + 1}{index:03d}"
            item = {"id": name, "patient": name} | ({} if fold is None else {"fold": fold})
            yield Case(item, section, index % period != period - 1, np.random.default_rng([seed, number, index]))


def make_cases(cases: Iterable[Case], make: Callable[[Case], None]) -> dict[str, list[dict[str, Any]]]:
    """Make the cases, several at a time, and return the datalist in their order.

    Args:
        cases: see :func:`cohort`.
        make: writes the images of a case and adds their files to its item; NumPy and SciPy let several do so at a time.
    """
    cases = list(cases)
    with ThreadPoolExecutor(min(num_cores(), MAX_THREADS)) as pool:
        try:
            made = pool.map(make, cases)
            for _ in progress_bar(made, "Making synthetic patients (once)", "case", len(cases), delay=2):
                pass
        except BaseException:  # Ctrl-C too
            pool.shutdown(cancel_futures=True)
            raise
    datalist: dict[str, list[dict[str, Any]]] = {"training": [], "testing": []}
    for case in cases:
        datalist.setdefault(case.section, []).append(case.item)
    return datalist
