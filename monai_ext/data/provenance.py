"""Record which generator made an anomaly map and on which patients it was trained, so that no map leaks."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from monai_ext.data.entries import Item, case_of, files_of, patient_of
from monai_ext.data.io.image_files import content_hash
from monai_ext.data.io.whole_file import whole_file
from monai_ext.data.preflight import PreflightError, Problem
from monai_ext.errors import DataError

__all__ = ["MapProvenance", "fingerprint", "refuse_leaking_maps"]

logger = logging.getLogger(__name__)

REMEDY = "Make the map with the anomaly-map phase"


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of a state dict: names, types, shapes and values. Two generators share it only when they are equal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class MapProvenance:
    """Origin of an anomaly map, stored beside it: ``adc_map.nii.gz`` has ``adc_map.provenance.json``.

    A generator reproduces the patients on whom it was trained better than others, and a generator of two domains has
    seen which of them are diseased. Its maps of those patients therefore differ from the maps of new patients, and let
    the segmenter learn a shortcut that is absent at test time.

    Args:
        patient: patient of the map.
        generator: :func:`fingerprint` of the weights, or a name for a map without weights (an inverted ADC map).
        training_patients: patients on whom the generator was trained, including those used to choose its stopping point
            or hyperparameters.
        settings: other settings that decide the map: method, modality, blur, sign, versions.
    """

    patient: str
    generator: str
    training_patients: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A number in one file and a string in another would hide a leak.
        object.__setattr__(self, "patient", str(self.patient))
        object.__setattr__(self, "training_patients", tuple(sorted({str(p) for p in self.training_patients})))

    @property
    def leaks(self) -> bool:
        """Whether the generator was trained on the patient of the map."""
        return self.patient in self.training_patients

    @staticmethod
    def file_of(map_file: str | Path) -> Path:
        """Name of the file beside a map."""
        path = Path(map_file)
        stem = path.name.removesuffix(".gz")
        return path.with_name(f"{Path(stem).stem}.provenance.json")

    def write(self, map_file: str | Path) -> None:
        """Write the file atomically beside a map that is already on disk, with the map's digest."""
        path = self.file_of(map_file)
        content = asdict(self) | {"map_sha256": content_hash(Path(map_file))}
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, map_file: str | Path) -> MapProvenance:
        """Read the file beside a map.

        Raises:
            DataError: the file is missing or cannot be read, or describes another map.
        """
        try:
            content = json.loads(cls.file_of(map_file).read_text(encoding="utf-8"))
            digest = content.pop("map_sha256")
            provenance = cls(**content)
        except FileNotFoundError as error:
            raise DataError("the anomaly map has no provenance beside it", REMEDY, file=map_file) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"the provenance cannot be read: {error!r}", REMEDY, file=cls.file_of(map_file)) from error
        try:
            same = content_hash(Path(map_file)) == digest
        except OSError as error:
            raise DataError(f"the anomaly map cannot be read: {error}", REMEDY, file=map_file) from error
        if not same:
            raise DataError("the anomaly map is not the one that its provenance describes", REMEDY, file=map_file)
        return provenance


def _leak(provenance: MapProvenance, item: Item, file: str) -> Problem | None:
    """Reason why a map must not be used for a case; empty if there is none."""
    case, patient = case_of(item), patient_of(item)
    if patient in provenance.training_patients or provenance.leaks:
        cause = f"the map leaks: its generator {provenance.generator[:12]} was trained on this patient"
        remedy = "Use a generator that never saw the patient (cross-fitting), or leave the patient out"
        return Problem("error", case, file, cause, remedy)
    if provenance.patient != patient:
        cause = f"the map is of patient {provenance.patient}, the case of patient {patient}"
        return Problem("error", case, file, cause, "Correct the datalist")
    return None


def refuse_leaking_maps(
    items: Sequence[Item], map_keys: Sequence[str], control: bool = False, may_lack: bool = False
) -> list[MapProvenance]:
    """Refuse maps whose generator was trained on the patient, in training and in evaluation.

    Args:
        items: training, validation or test cases from :func:`monai_ext.data.load_datalist`.
        map_keys: keys of the anomaly maps.
        control: True accepts leaking and exchanged maps with a warning, for the control experiments that measure their
            effect. Missing maps and missing provenance remain errors.
        may_lack: True accepts that an item lacks maps, which a mapper will make.

    Returns:
        The provenance of every map, in the order of items and keys.

    Raises:
        PreflightError: a ``DataError`` that lists all missing, leaking and exchanged maps.
    """
    found, broken, leaks = [], [], []
    for item in items:
        case, files = case_of(item), files_of(item)
        for key in map_keys:
            if key not in files and not may_lack:
                broken.append(Problem("error", case, "", f"there is no anomaly map {key!r}", REMEDY))
            for file in files.get(key, ()):
                try:
                    found.append(MapProvenance.read(file))
                except DataError as error:
                    broken.append(Problem("error", case, str(error.file), error.cause, error.remedy))
                    continue
                if leak := _leak(found[-1], item, file):
                    leaks.append(leak)
    if broken or (leaks and not control):
        raise PreflightError([*broken, *leaks])
    if leaks:
        logger.warning("%d anomaly maps leak or are exchanged: a control experiment, not a result", len(leaks))
    return found
