"""A choice of patients: who, in which order, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_ext.errors import ConfigError
from monai_ext.select.coverage import Pick, cover, distances, find_outliers

__all__ = ["Choice", "make_choice"]


@dataclass(frozen=True)
class Choice:
    """Patients by what became of them.

    Attributes:
        patients: all whose scans could be looked at.
        chosen: in the order of the choice.
        labelled: those that had labels before.
        outliers: those far from all others, chosen or not.
        broken: why the scans of the others cannot be used.
        picks: of the chosen.
        nearest: for each patient the nearest that is labelled or chosen, ``[N]``, as an index; itself for these.
        apart: distance to it, ``[N]``.
        uncertainty: of a segmenter, ``[N]``.
    """

    patients: Sequence[str]
    chosen: Sequence[str]
    labelled: Sequence[str]
    outliers: Sequence[str]
    broken: Mapping[str, str]
    picks: Sequence[Pick]
    nearest: NDArray[np.int64]
    apart: NDArray[np.float32]
    uncertainty: Sequence[float] | None = None

    @property
    def served(self) -> Counter[str]:
        """How many patients lie nearest to each labelled or chosen one, itself included; outliers apart."""
        return Counter(self.patients[n] for p, n in zip(self.patients, self.nearest) if p not in self.outliers)

    def reason(self, rank: int) -> str:
        """Why a patient was chosen, in a few words."""
        pick, count = self.picks[rank], self.served[self.chosen[rank]]
        first = "the most typical; " if np.isnan(pick.distance) else ""
        return f"{first}stands for {count} of {len(self.patients)} patients"

    def rows(self) -> list[dict[str, Any]]:
        """A row for each patient: the chosen in their order, the labelled, the others by distance, the broken."""
        index = {patient: number for number, patient in enumerate(self.patients)}
        others = [patient for patient in self.patients if patient not in {*self.chosen, *self.labelled}]
        others.sort(key=lambda patient: (patient in self.outliers, -float(self.apart[index[patient]]), patient))
        rows = []
        for state, group in (("chosen", self.chosen), ("labelled", self.labelled), ("unlabelled", others)):
            for place, patient in enumerate(group):
                number = index.get(patient)
                if number is None:
                    continue
                rank = place if state == "chosen" else None
                away = self.apart[number] if rank is None else self.picks[rank].distance
                row: dict[str, Any] = {
                    "rank": "" if rank is None else rank + 1,
                    "patient": patient,
                    "state": state,
                    "reason": self.reason(rank) if rank is not None else "",
                    "stands_for": self.served[patient] if state != "unlabelled" else "",
                    "nearest": self.patients[self.nearest[number]] if state == "unlabelled" else "",
                    "distance": "" if np.isnan(away) else f"{away:.4f}",
                    "outlier": "yes" if patient in self.outliers else "",
                }
                if self.uncertainty is not None:
                    row["uncertainty"] = f"{self.uncertainty[number]:.5f}"
                rows.append(row)
        return rows + [{"patient": p, "state": "broken", "reason": why} for p, why in sorted(self.broken.items())]

    def __str__(self) -> str:
        width = max(map(len, self.chosen))
        lines = [f"{n + 1:>3}  {p.ljust(width)}  {self.reason(n)}" for n, p in enumerate(self.chosen)]
        far = [patient for patient in self.outliers if patient not in self.chosen]
        if far:
            lines.append(f"outliers, far from all others: {', '.join(far)}")
        lines += [f"cannot be used: {patient}: {why}" for patient, why in sorted(self.broken.items())]
        return "\n".join(lines)


def make_choice(
    patients: Sequence[str],
    features: NDArray[Any],
    num: int,
    labelled: Collection[str] = (),
    broken: Mapping[str, str] | None = None,
    outliers: bool = False,
    uncertainty: ArrayLike | None = None,
) -> Choice:
    """Choose patients that stand for all.

    Args:
        patients: their ids.
        features: ``[N, D]``.
        num: patients to choose.
        labelled: patients that have labels; they stand for others already.
        broken: why others cannot be used.
        outliers: True chooses from the outliers too; else none is chosen or need be covered.
        uncertainty: of a segmenter ``[N]``: a patient with twice as much of it as another counts twice.

    Raises:
        ConfigError: there are fewer patients to choose from.
    """
    distance = distances(features)
    far = find_outliers(distance)
    known = {index for index, patient in enumerate(patients) if patient in labelled}
    allowed = {index for index in range(len(patients)) if index not in known and (outliers or not far[index])}
    if len(allowed) < num:
        why = f"{len(known)} of {len(patients)} patients have labels"
        aside = f", {int(far.sum())} are outliers (--outliers true)" if far.any() and not outliers else ""
        raise ConfigError(
            f"--num is {num}, but there are {len(allowed)} patients to choose from: {why}{aside}; --labelled none "
            "chooses as if none had"
        )
    unsure = None if uncertainty is None else np.asarray(uncertainty, dtype=np.float64)
    demand = np.ones(len(patients)) if unsure is None else unsure / max(float(unsure.mean()), 1e-12)
    if not outliers:
        demand = np.where(far, 0.0, demand)
    picks = cover(distance, num, patients, known, allowed, demand)
    taken = sorted({*known, *(pick.index for pick in picks)})
    nearest = np.array(taken)[distance[:, taken].argmin(1)]
    nearest[taken] = taken
    return Choice(
        patients=list(patients),
        chosen=[patients[pick.index] for pick in picks],
        labelled=sorted(labelled),
        outliers=[patient for patient, is_far in zip(patients, far) if is_far],
        broken=dict(broken or {}),
        picks=picks,
        nearest=nearest,
        apart=distance[np.arange(len(patients)), nearest],
        uncertainty=None if unsure is None else unsure.tolist(),
    )
