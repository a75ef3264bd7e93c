"""Which patients teach the generators, and whose maps each generator may make, so that no map leaks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import nibabel as nib
import numpy as np

from monai_ext.data.entries import Folds, Item, case_of, patient_of, select
from monai_ext.data.io.volume import read_volume
from monai_ext.errors import ConfigError, DataError

__all__ = ["GeneratorPlan", "Scheme", "plan_generators"]

Scheme = Literal["excluded", "crossfit", "insample", "external"]


@dataclass(frozen=True)
class GeneratorPlan:
    """The patients of each generator.

    Args:
        scheme: how the patients were chosen.
        learns: the patients that generator k learns from.
        makes: the generator that makes a patient's maps, where it is not the first one; None for a patient who has
            taught the only generator and gets no map.
    """

    scheme: Scheme
    learns: tuple[tuple[str, ...], ...]
    makes: dict[str, int | None]

    def generator_of(self, patient: str) -> int | None:
        """Number of the generator that makes a patient's maps; None when the patient is to be left out."""
        return self.makes.get(patient, 0)


def _has_lesion(item: Item, lesion_from: int) -> bool:
    path = Path(str(item["label"]))
    try:
        if path.name.lower().endswith((".nii", ".nii.gz")):
            return bool((np.asanyarray(nib.load(path).dataobj) >= lesion_from).any())  # type: ignore[attr-defined]
        return bool((read_volume(path) >= lesion_from).any())
    except DataError:
        raise
    except Exception as error:  # nibabel raises anything from EOFError to ImageFileError
        raise DataError(f"the label cannot be read: {error}", case=case_of(item), file=path) from error


def plan_generators(
    items: Sequence[Item],
    scheme: Scheme = "excluded",
    num_splits: int = 2,
    share: float = 0.5,
    exclude_folds: Folds = None,
    lesion_from: int = 1,
) -> GeneratorPlan:
    """Split patients before any generator is trained.

    - ``excluded``: one generator learns from ``share`` of the patients with labels, of each fold and of patients with
      and without lesions alike, and these patients are left out of the segmenter's training and validation. Cheap: one
      generator per modality serves all folds.
    - ``crossfit``: the patients are dealt into ``num_splits`` groups; generator k learns from all but group k and makes
      the maps of group k. Everybody is left to the segmenter, at ``num_splits`` times the cost. As in stacking, a
      generator that makes the map of a training patient may have learned from a patient of the segmenter's validation
      fold; ``exclude_folds`` keeps that fold out of all generators.
    - ``external``: the generators were trained on other data; these patients teach nobody and all get maps.
    - ``insample``: one generator learns from all and makes all maps: they leak. For the control experiment.

    Patients who taught no generator (other folds, test sets, new patients) get the maps of the first one. The same
    patients fall into the same groups on every machine, whatever the order of the items.

    Args:
        items: items of the section "training".
        scheme: how to choose the patients, see above.
        num_splits: groups of ``crossfit``, at least 2.
        share: share of the patients for ``excluded``, between 0 and 1.
        exclude_folds: folds that no generator learns from.
        lesion_from: label values from this one on are lesion.

    Raises:
        ConfigError: an argument is out of its range.
        DataError: a generator would have no patient.
    """
    if scheme not in get_args(Scheme):
        raise ConfigError(f"scheme {scheme!r} is none of {', '.join(get_args(Scheme))}")
    if scheme == "crossfit" and num_splits < 2:
        raise ConfigError(f"cross-fitting needs at least 2 splits, not {num_splits}")
    if scheme == "excluded" and not 0 < share < 1:
        raise ConfigError(f"the share of patients for the generators must lie between 0 and 1, not {share}")
    if scheme == "external":
        return GeneratorPlan(scheme, ((),), {})
    strata: dict[str, tuple[str, bool]] = {}
    for item in select(list(items), exclude_folds=exclude_folds):
        if "label" in item:
            patient = patient_of(item)
            before = strata.get(patient, ("", False))[1]
            strata[patient] = str(item.get("fold")), before or _has_lesion(item, lesion_from)
    groups: dict[tuple[str, bool], list[str]] = {}
    for patient in sorted(strata, key=lambda p: hashlib.sha256(p.encode()).hexdigest()):
        groups.setdefault(strata[patient], []).append(patient)

    makes: dict[str, int | None] = {}
    if scheme == "insample":
        learns = [list(strata)]
    elif scheme == "excluded":
        learns = [[p for group in groups.values() for p in group[: int(share * len(group) + 1e-9)]]]
        makes = dict.fromkeys(learns[0])
    else:
        number = 0
        for key in sorted(groups):
            for patient in groups[key]:
                makes[patient] = number % num_splits
                number += 1
        learns = [[p for p in strata if makes[p] != k] for k in range(num_splits)]
    if empty := [k for k, patients in enumerate(learns) if not patients]:
        remedy = "Give more patients with labels, or a larger share (--share)."
        raise DataError(f"generator {empty[0]} would learn from no patient of {len(strata)} with labels", remedy)
    return GeneratorPlan(scheme, tuple(tuple(sorted(p)) for p in learns), makes)
