"""What is known of how an encoder was pretrained: from its file, or from the register of published ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from monai_ext.errors import CheckpointError
from monai_ext.networks.nets.residual_encoder_unet import RESENC_L
from monai_ext.networks.nets.stunet import STUNET_SIZES
from monai_ext.networks.published import Architecture, find_architecture, find_entry, find_file, read_published

__all__ = ["Pretraining", "find_pretraining", "in_mm", "times"]


@dataclass(frozen=True)
class Pretraining:
    """What is known of how an encoder was pretrained.

    Args:
        source: a file, ``hub:OWNER/NAME`` or a name of the register.
        architecture: of its weights.
        spacing: mm that it learned at; None where it names none.
        normalization: ``"z-score"``, ``"CT"`` (nnU-Net's) or empty where it is not known.
        patch: voxels of its crops; None where they are not known.
        told_by: ``"the file"`` or ``"the register"``.
        unverified: fields of the register that its sources do not settle.
    """

    source: str
    architecture: Architecture
    spacing: tuple[float, ...] | None = None
    normalization: str = ""
    patch: tuple[int, ...] | None = None
    told_by: str = "the file"
    unverified: tuple[str, ...] = ()

    def __str__(self) -> str:
        facts = [str(self.architecture), in_mm(self.spacing) if self.spacing else "no spacing"]
        facts += [self.normalization or "intensities not known"]
        facts += [f"crops of {times(self.patch)}"] if self.patch else []
        doubt = f"; unverified: {', '.join(self.unverified)}" if self.unverified else ""
        return f"{self.source}: {', '.join(facts)} (says {self.told_by}{doubt})"


def find_pretraining(source: str) -> Pretraining:
    """Look at a file, or, where a published encoder cannot be had here, into the register.

    Raises:
        CheckpointError: when the file cannot be read, or cannot be had and is in no register.
        ConfigError: when ``source`` is malformed.
    """
    entry = find_entry(source)
    known: dict[str, Any] = {}
    if entry is not None:
        known = {"spacing": entry.spacing, "patch": entry.patch, "normalization": _kind(entry.normalization)}
    try:
        file = find_file(source)
    except CheckpointError:
        if entry is None:
            raise
        doubt = tuple(field for field in entry.unverified if field in known)
        return Pretraining(source, _by_name(entry.architecture), **known, told_by="the register", unverified=doubt)
    weights = read_published(file)
    said = {name: value for name, value in weights.pretraining.items() if value}
    if "spacing" in said:
        known["spacing"] = tuple(float(mm) for mm in said["spacing"])
    if "normalization" in said:
        known["normalization"] = _kind(" ".join(map(str, said["normalization"])))
    if patch := said.get("recommended patch") or said.get("patch"):
        known["patch"] = tuple(int(n) for n in patch)
    doubt = tuple(field for field in entry.unverified if field in known and field not in said) if entry else ()
    told_by = "the register" if entry and not said else "the file"
    return Pretraining(source, find_architecture(weights.state), **known, told_by=told_by, unverified=doubt)


def _by_name(name: str) -> Architecture:
    if name == "ResEnc-L":
        return Architecture("ResEnc", *RESENC_L)
    base, depth = STUNET_SIZES[name.removeprefix("STU-Net-")]
    widths = tuple(base * times for times in (1, 2, 4, 8, 16, 16))
    return Architecture("STU-Net", widths, (depth,) * len(widths))


def _kind(text: str) -> str:
    lower = text.lower()
    if "ctnormalization" in lower or "for ct" in lower:
        return "CT"
    return "z-score" if "zscore" in lower or "z-score" in lower else ""


def in_mm(spacing: Sequence[float] | NDArray[Any]) -> str:
    """``1.5 x 1.5 x 3 mm``."""
    return f"{times([round(float(mm), 3) for mm in spacing])} mm"


def times(values: Sequence[float]) -> str:
    """``160 x 160 x 96``."""
    return " x ".join(f"{value:g}" for value in values)
