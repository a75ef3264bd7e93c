"""Find the other modalities of a case from the file of one modality."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.data import MetaTensor
from monai.transforms import Transform

from monai_ext.data.io.image_header import num_axes
from monai_ext.data.io.volume import read_volume
from monai_ext.errors import DataError

__all__ = ["SiblingModalitiesd", "StackedModalitiesd"]

EXTENSIONS = (".nii.gz", ".nii", ".mha")
READABLE = (*EXTENSIONS, ".mhd", ".nrrd", ".nhdr")


def split_extension(path: Path) -> tuple[str, str]:
    """Name without and with its image extension: ``case_t2w.nii.gz`` -> ``("case_t2w", ".nii.gz")``."""
    extension = next((end for end in READABLE if path.name.lower().endswith(end)), "")
    return path.name[: len(path.name) - len(extension)], extension


class StackedModalitiesd(Transform):
    """Split one file that stacks all modalities on a fourth axis, as MONAI Label can send them.

    An item that names ``names[0]``, or whose ``source`` is a 3-D file, is left unchanged.

    Args:
        source: key of the file.
        names: keys of the modalities, in the order of the fourth axis.

    Raises:
        DataError: the file does not hold ``len(names)`` volumes, or cannot be read.
    """

    def __init__(self, source: str = "image", names: Sequence[str] = ("t2w", "adc", "hbv")) -> None:
        self.source, self.names = source, tuple(names)

    def applies(self, data: Mapping[Hashable, Any]) -> bool:
        """Whether ``source`` is a file of four axes and the item names no modality itself."""
        path = data.get(self.source)
        return self.names[0] not in data and isinstance(path, str | Path) and num_axes(Path(path)) == 4

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace ``source`` by one ``[1, X, Y, Z]`` volume per name."""
        item = dict(data)
        if not self.applies(item):
            return item
        case, path = item.get("id"), item.pop(self.source)
        stack = read_volume(path, case, stacked=True)
        if len(stack) != len(self.names):
            found = (
                f"the 4-D file holds {len(stack)} volumes, but {len(self.names)} are expected: {', '.join(self.names)}"
            )
            raise DataError(found, "Stack them in this order, or write them to sibling files.", case, path)
        for index, name in enumerate(self.names):
            volume = stack.as_tensor()[index : index + 1].clone()
            item[name] = MetaTensor(volume, affine=stack.affine.clone(), meta=dict(stack.meta))
        return item


class SiblingModalitiesd(Transform):
    """Fill in the paths of modalities whose files lie beside the first one and have matching names.

    ``case_t2w.nii.gz`` -> ``case_adc.nii.gz`` (any of .nii.gz, .nii, .mha, or a directory ``case_adc``);
    ``t2w.mha`` -> ``adc.mha``; DICOM ``case/t2w/`` -> ``case/adc/``; ``case.nii.gz`` -> ``case_adc.nii.gz``.
    Paths that an item gives are kept.

    Args:
        first: key of the modality that is named; also the suffix of its file (``_t2w``).
        siblings: key -> suffix of the other modalities.
        source: key that holds the first modality when ``first`` is absent (MONAI Label sends ``image``).
        optional: key -> suffix of files that are used if they exist (a gland mask).
        unless: key -> keys that make it unnecessary if an item has them all (high-b from two measured b-values).
        aliases: other namings, tried first: end of the first modality's name -> key -> end of the other's name, for
            example ``{"_0001": {"ct": "_0000"}}``.

    Raises:
        DataError: the first modality or the file of a sibling is missing; the error lists the names that were tried.
    """

    def __init__(
        self,
        first: str = "t2w",
        siblings: Mapping[str, str] | None = None,
        source: str = "image",
        optional: Mapping[str, str] | None = None,
        unless: Mapping[str, Sequence[str]] | None = None,
        aliases: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.first, self.source = first, source
        self.siblings = dict({"adc": "_adc", "hbv": "_hbv"} if siblings is None else siblings)
        self.optional, self.unless, self.aliases = dict(optional or {}), dict(unless or {}), dict(aliases or {})

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Fill in the paths of one item without reading the files."""
        item = dict(data)
        if self.first not in item and self.source in item:
            item[self.first] = item.pop(self.source)
        if self.first not in item:
            remedy = f"Name it in the datalist, as {self.first!r} or {self.source!r}."
            raise DataError(f"the item has no {self.first}", remedy, item.get("id"))
        if not isinstance(item[self.first], str | Path):  # already loaded, from a stack
            self._require(item, {})
            return item
        tried = {key: self._candidates(Path(item[self.first]), key, end) for key, end in self.siblings.items()}
        extra = {key: self._candidates(Path(item[self.first]), key, end) for key, end in self.optional.items()}
        for key, paths in {**tried, **extra}.items():
            if item.get(key) is None:
                item.pop(key, None)
                found = next((path for path in paths if path.exists()), None)
                item.update({} if found is None else {key: str(found)})
        self._require(item, tried)
        return item

    def optional_beside(
        self, data: Mapping[Hashable, Any], path: str | Path, stacked: Sequence[str] = ()
    ) -> dict[Hashable, Any]:
        """The item with the optional files (a gland mask) that lie beside a stack of the modalities ``stacked``."""
        item = dict(data)
        for key, suffix in self.optional.items():
            if key in stacked:
                continue
            found = next((p for p in self._candidates(Path(path), key, suffix) if p.exists()), None)
            if found is not None:
                item.setdefault(key, str(found))
        return item

    @property
    def keys(self) -> tuple[str, ...]:
        """All modalities that an item can have, the first one first."""
        return (self.first, *self.siblings, *self.optional)

    def modality_of(self, path: str | Path) -> tuple[str, str]:
        """The modality that the end of a file's name says, and the rest of the name; "" if it says none of them.

        Example:
            >>> SiblingModalitiesd().modality_of("p7_ADC.nii.gz"), SiblingModalitiesd().modality_of("p7/t2w.mha")
            (('adc', 'p7'), ('t2w', ''))
        """
        stem, _ = split_extension(Path(path))
        ends = [(f"_{self.first}", self.first), *((end, key) for key, end in (self.siblings | self.optional).items())]
        for end, names in self.aliases.items():
            if names.get(self.first, end) == end:
                ends += [(end, self.first), *((names[key], key) for key in self.siblings if key in names)]
        lower = stem.lower()
        for end, key in sorted(ends, key=lambda found: -len(found[0])):
            if lower.endswith(end.lower()) or lower == end.lstrip("_-").lower():
                return key, stem[: max(0, len(stem) - len(end))]
        return "", stem

    def _candidates(self, first: Path, key: str, suffix: str) -> list[Path]:
        stem, extension = split_extension(first)
        other = [
            first.with_name(stem[: -len(end)] + names[key] + extension)
            for end, names in self.aliases.items()
            if stem.endswith(end) and key in names
        ]
        if stem.lower() == self.first.lower():
            stem, suffix = "", suffix.lstrip("_")
        elif stem.lower().endswith(f"_{self.first}".lower()):
            stem = stem[: -len(self.first) - 1]
        endings = dict.fromkeys([extension, *EXTENSIONS, ""])  # the first modality's own format first
        return other + [first.with_name(stem + suffix + ending) for ending in endings]

    def _require(self, item: dict[Hashable, Any], tried: Mapping[str, list[Path]]) -> None:
        for key in self.siblings:
            instead = self.unless.get(key)
            if key in item or (instead and all(other in item for other in instead)):
                continue
            looked = f"; looked for {', '.join(path.name for path in tried[key])}" if key in tried else ""
            cause = f"{key} is missing{looked}"
            remedy = f"Put it beside {self.first} under such a name, or give its path as {key!r} in the datalist."
            raise DataError(cause, remedy, item.get("id"), item.get(self.first) if tried else None)
