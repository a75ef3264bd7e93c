"""What a data set is, from its headers and one look at its voxels: all that the rules of a plan rest on."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from monai.transforms import Orientationd
from numpy.typing import NDArray

from monai_ext.data.entries import Item, patient_of
from monai_ext.data.io.image_header import read_header
from monai_ext.data.io.pet import read_pet
from monai_ext.errors import DataError
from monai_ext.plan.case_facts import CaseFacts, measure_case
from monai_ext.transforms.grid import ResampleToReferenced
from monai_ext.transforms.load import LoadVolumed
from monai_ext.transforms.siblings import StackedModalitiesd

__all__ = ["DatasetFacts", "measure_dataset", "read_case"]

MAX_CASES, MAX_SECONDS = 40, 45.0  # whose voxels are read; a percentile of more cases is the same
SAME_ORDER = 0.95  # share of the cases in which two classes keep their order along an axis
ALIKE = 1.0  # standard deviations between the means of two classes that look alike


@dataclass(frozen=True)
class DatasetFacts:
    """Measurements of a data set.

    Attributes:
        modalities: keys of the images, one channel each.
        patients: number of patients.
        labelled: number of patients with a label.
        spacings: mm along R, A and S, ``[N, 3]``, of all cases, from their headers.
        shapes: voxels along R, A and S, ``[N, 3]``.
        cases: those whose voxels were read.
        seconds_per_case: that reading and measuring one took; preparing it takes about as much.
    """

    modalities: tuple[str, ...]
    patients: int
    labelled: int
    spacings: NDArray[np.float64]
    shapes: NDArray[np.float64]
    cases: tuple[CaseFacts, ...]
    seconds_per_case: float = 0.0

    @property
    def classes(self) -> list[int]:
        """Label values above 0 that were found, in order."""
        return sorted({value for case in self.cases for value in case.voxels})

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Median mm along R, A and S, ``[3]``."""
        return np.median(self.spacings, axis=0)

    @property
    def extent(self) -> NDArray[np.float64]:
        """Median mm of the foreground's box along R, A and S, ``[3]``; the whole volume's without labels."""
        found = [case.extent for case in self.cases if case.extent is not None]
        return np.median(found if found else self.spacings * self.shapes, axis=0)

    @property
    def lesion_ml(self) -> NDArray[np.float64]:
        """Millilitres of all connected lesions, in order; empty for sets of many classes."""
        return np.sort([ml for case in self.cases for ml in case.components])

    @property
    def lesion_slices(self) -> float:
        """Share of the axial slices of labelled cases that hold foreground."""
        found = [case.lesion_slices for case in self.cases if case.labelled]
        return float(np.mean(found)) if found else 0.0

    @property
    def foreground(self) -> float:
        """Median share of the voxels of labelled cases that are foreground."""
        found = [case.foreground for case in self.cases if case.labelled]
        return float(np.median(found)) if found else 0.0

    def voxels(self, modality: str, inside: bool = True) -> NDArray[np.float32]:
        """Some voxels of all cases inside or outside of the labels; outside ones where nothing is labelled."""
        if inside and not any(case.inside for case in self.cases):
            return self.voxels(modality, inside=False)
        parts = [(case.inside if inside else case.outside).get(modality, np.zeros(0)) for case in self.cases]
        return np.concatenate([np.zeros(0, np.float32), *parts]).astype(np.float32)

    def is_ct(self, modality: str) -> bool:
        """Whether the values are Hounsfield units: air at -1000 beside tissue, within the range of CT."""
        every = np.concatenate([self.voxels(modality), self.voxels(modality, inside=False)])
        if not len(every) or np.percentile(every, 0.1) < -3100:
            return False
        return bool(np.percentile(every, 2) < -50 and np.percentile(every, 98) > 40 and every.min() < -200)

    def ordered_axes(self) -> tuple[int, ...]:
        """Axes along which two classes that look alike always lie in the same order, such as left and right kidney.

        A network tells them apart by their place alone, and a mirrored image would show one in the other's. Two classes
        look alike when their mean intensities differ, in every modality and the median case, by less than the standard
        deviation inside of that case's labels.
        """
        found = set()
        for one, other in combinations(self.classes, 2):
            both = [case for case in self.cases if {one, other} <= case.centres.keys()]
            if not both:
                continue
            apart = [
                np.median(
                    [abs(case.means[n][one] - case.means[n][other]) / (case.inside[n].std() + 1e-9) for case in both]
                )
                for n in self.modalities
            ]
            if max(apart) > ALIKE:
                continue
            before = np.mean([case.centres[one] < case.centres[other] for case in both], axis=0)
            gap = np.median([abs(case.centres[one] - case.centres[other]) for case in both], axis=0)
            for axis in range(3):
                # side by side in another direction, they are told apart along that one
                if max(before[axis], 1 - before[axis]) >= SAME_ORDER and gap[axis] > 0.5 * gap.max():
                    found.add(axis)
        return tuple(sorted(found))


def measure_dataset(
    items: Sequence[Item],
    modalities: Sequence[str],
    preprocessing: Any = None,
    stacked: Sequence[str] | None = None,
    max_cases: int = MAX_CASES,
    max_seconds: float = MAX_SECONDS,
) -> DatasetFacts:
    """Measure a data set: the headers of all cases, the voxels of some, those with labels first.

    Args:
        items: with absolute paths, as from :func:`~monai_ext.data.load_datalist`.
        modalities: keys of the images.
        preprocessing: of the bundle; its ``resolve`` names the files that lie beside an item's first.
        stacked: order of the volumes of a 4-D file ``image``; None = ``modalities``.
        max_cases: whose voxels are read.
        max_seconds: after which no further case is read.

    Raises:
        DataError: a file cannot be read, or there is no item.
    """
    if not items:
        raise DataError("the datalist has no case to plan for", "Check its section and folds.")
    resolved = [
        dict(preprocessing.resolve(item)) if hasattr(preprocessing, "resolve") else dict(item) for item in items
    ]
    grids = [_grid(item, modalities) for item in resolved]
    order = sorted(range(len(items)), key=lambda i: (not items[i].get("label"), hash_of(str(items[i].get("id")))))
    cases: list[CaseFacts] = []
    began = time.monotonic()
    for i in order[:max_cases]:
        if cases and time.monotonic() - began > max_seconds:
            break
        cases.append(measure_case(*read_case(resolved[i], modalities, stacked)))
    spent = (time.monotonic() - began) / len(cases)
    patients = {patient_of(item) for item in items}
    labelled = {patient_of(item) for item in items if item.get("label")}
    spacings, shapes = (np.array([grid[k] for grid in grids], dtype=np.float64) for k in (0, 1))
    return DatasetFacts(tuple(modalities), len(patients), len(labelled), spacings, shapes, tuple(cases), spent)


def hash_of(word: str) -> int:
    """A number that depends on the word alone, on every machine."""
    return int.from_bytes(word.encode()[::-1], "little") * 2654435761 % 2**32


def _grid(item: Mapping[str, Any], modalities: Sequence[str]) -> tuple[list[float], list[int]]:
    """Spacing and shape along R, A and S from the header of an item's first image."""
    path = next(item[key] for key in (*modalities, "image") if item.get(key) is not None)
    header = read_header(path[0] if isinstance(path, list) else path)
    matrix = np.asarray(header.affine)[:3, :3]
    mm = np.linalg.norm(matrix, axis=0)
    # each axis of the file belongs to the direction that it runs along most, each direction once
    places, free = [0, 0, 0], [0, 1, 2]
    for axis in np.argsort(-np.abs(matrix / mm).max(0)):
        direction = max(free, key=lambda d: abs(matrix[d, axis]))
        places[direction] = int(axis)
        free.remove(direction)
    shape = (*header.shape, 1, 1, 1)
    return [float(mm[axis]) for axis in places], [int(shape[axis]) for axis in places]


def read_case(
    item: Mapping[str, Any], modalities: Sequence[str], stacked: Sequence[str] | None = None
) -> tuple[dict[str, NDArray[Any]], NDArray[Any] | None, tuple[float, float, float]]:
    """Images and label of an item on the grid of its first image, axes R, A and S: arguments of ``measure_case``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the preflight and the preprocessing say them
        first, *others = modalities
        data: dict[Any, Any] = dict(item)
        if data.get(first) is None or (len(modalities) > 1 and first == "image"):
            data = dict(StackedModalitiesd("image", tuple(stacked or modalities))(data))
        labels = ("label",) if data.get("label") is not None else ()
        if first == "pet" or "pet" in others:
            data["pet"] = data["pet"] if hasattr(data["pet"], "affine") else read_pet(data["pet"], data.get("id"))
        keys = (*modalities, *labels)
        transforms: list[Any] = [LoadVolumed(keys, masks=labels), Orientationd(keys, axcodes="RAS", labels=None)]
        if others:
            transforms.append(ResampleToReferenced(tuple(others), first, min_coverage=0))
        if labels:
            transforms.append(ResampleToReferenced("label", first, mode="nearest", min_coverage=0))
        for transform in transforms:
            data = transform(data)
    images = {key: data[key].as_tensor()[0].numpy() for key in modalities}
    label = data["label"].as_tensor()[0].numpy().astype(np.int64) if labels else None
    right, front, up = (float(mm) for mm in data[first].pixdim)
    return images, label, (right, front, up)
