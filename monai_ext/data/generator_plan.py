"""Choose the patients that train each generator and the patients whose maps it makes, so that no map leaks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import nibabel as nib
import numpy as np

from monai_ext.data.entries import Folds, Item, case_of, patient_of, select
from monai_ext.data.io.volume import read_volume
from monai_ext.errors import ConfigError, DataError

__all__ = ["GeneratorPlan", "Scheme", "plan_generators", "recorded_plan"]

Scheme = Literal["excluded", "crossfit", "insample", "external"]


@dataclass(frozen=True)
class GeneratorPlan:
    """The patients of each generator.

    Args:
        scheme: how the patients were chosen.
        learns: the patients on whom generator k is trained.
        makes: number of the generator that makes a patient's maps, if it is not the first; None for a patient on whom
            the only generator was trained, who gets no map.
    """

    scheme: Scheme
    learns: tuple[tuple[str, ...], ...]
    makes: dict[str, int | None]

    def generator_of(self, patient: str) -> int | None:
        """Number of the generator that makes a patient's maps; None when the patient must be left out."""
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

    - ``excluded``: one generator is trained on a share ``share`` of the patients with labels, stratified by fold and by
      lesion. These patients are left out of the segmenter's training and validation. This is cheap, because one
      generator per modality serves all folds.
    - ``crossfit``: the patients are dealt into ``num_splits`` groups. Generator k is trained on all groups except group
      k and makes the maps of group k. The segmenter keeps all patients, at ``num_splits`` times the cost. As in
      stacking, a generator that makes the map of a training patient may have been trained on a patient of the
      segmenter's validation fold; ``exclude_folds`` keeps that fold out of all generators.
    - ``external``: the generators were trained on other data; no generator is trained on these patients, and all get
      maps.
    - ``insample``: one generator is trained on all patients and makes all maps. They leak; this is the control
      experiment.

    Patients on whom no generator was trained (other folds, test sets, new patients) get the maps of the first one. The
    groups depend only on the patients, not on the machine or on the order of the items.

    Args:
        items: items of the section "training".
        scheme: how to choose the patients, see above.
        num_splits: number of groups of ``crossfit``, at least 2.
        share: share of the patients for ``excluded``, between 0 and 1.
        exclude_folds: folds on which no generator is trained.
        lesion_from: smallest label value that counts as lesion.

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
        raise DataError(
            f"generator {empty[0]} would be trained on none of the {len(strata)} patients with labels", remedy
        )
    return GeneratorPlan(scheme, tuple(tuple(sorted(p)) for p in learns), makes)


def recorded_plan(generators: str | Path, modalities: Sequence[str], scheme: Scheme = "excluded") -> GeneratorPlan:
    """The plan that trained generators follow, from the records beside them, whatever data are mapped now.

    A patient on whom every generator has learned gets no map (all maps under ``insample``, the control); another one
    gets those of the first generator that has not learned from this patient, which under cross-fitting is the one of
    its group.

    Args:
        generators: folder that holds ``split0``, ``split1``, ... with ``adc.json`` beside ``adc.pt``.
        modalities: whose records are read; a patient is learned where one of them names it.
        scheme: how the generators were trained.

    Raises:
        DataError: a record cannot be read.
    """
    learns: list[tuple[str, ...]] = []
    while (folder := Path(generators) / f"split{len(learns)}").is_dir():
        patients: set[str] = set()
        for path in (folder / f"{modality}.json" for modality in modalities):
            if path.is_file():
                try:
                    patients |= set(map(str, json.loads(path.read_text(encoding="utf-8"))["training_patients"]))
                except (OSError, ValueError, KeyError, TypeError) as error:
                    remedy = "Train the generator with the reconstruction phase."
                    cause = f"what the generator learned from is not known: {error!r}"
                    raise DataError(cause, remedy, file=path) from error
        learns.append(tuple(sorted(patients)))
    makes: dict[str, int | None] = {}
    for patient in set().union(*learns) if scheme != "insample" else ():
        makes[patient] = next((k for k, taught in enumerate(learns) if patient not in taught), None)
    return GeneratorPlan(scheme, tuple(learns), makes)
