"""What all preprocessings of a bundle have in common."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

from monai.transforms import Transform

from monai_ext.data.io.case_id import case_id
from monai_ext.data.io.limits import Limits
from monai_ext.transforms.grid import GRID_AFFINE, GRID_SHAPE
from monai_ext.transforms.siblings import SiblingModalitiesd, StackedModalitiesd

__all__ = ["Preprocessing"]


class Preprocessing(Transform):
    """Everything deterministic between the files of a case and the network, as one transform.

    A subclass keeps each argument of its constructor under the argument's name: its text, and with it the place of its
    results in a cache, is made of them.

    MONAI Label takes a bundle's ``preprocessing`` for a list of transforms and goes through it; iterating yields the
    transform itself, once.

    Args:
        naming: finds the files of a case beside the first one.
        stack: takes a 4-D file of all modalities apart; None where a case never is one.
    """

    LIMITS = Limits()  # of what a bundle is for
    VERSION = 1  # raise it with any change of the result, so that cached volumes are computed again

    def __init__(self, naming: SiblingModalitiesd, stack: StackedModalitiesd | None = None) -> None:
        self.naming, self._stack = naming, stack

    def __iter__(self) -> Iterator[Transform]:
        """The transform itself, once."""
        yield self

    def __repr__(self) -> str:
        """The arguments, so that equal transforms print alike."""
        arguments = ", ".join(
            f"{name}={_shown(getattr(self, name))}" for name in inspect.signature(type(self)).parameters
        )
        return f"{type(self).__name__}({arguments})"

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same files would give another result."""
        return hashlib.sha256(f"{self.VERSION} {self!r}".encode()).hexdigest()[:16]

    def resolve(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with an id and with every file it will be computed from; reads nothing but a header."""
        item = self._identified(data, self.naming.first, self.naming.source)
        if self._stack is None or not self._stacked(item):
            return self.naming(item)
        return self.naming.optional_beside(item, item[self._stack.source], self._stack.names)

    def _identified(self, data: Mapping[Hashable, Any], *keys: str) -> dict[Hashable, Any]:
        """The item with an id, if need be from the first of some keys that it has."""
        first = next((data[key] for key in keys if data.get(key) is not None), None)
        if data.get("id") is None and isinstance(first, str | Path):
            return {**data, "id": case_id(first)}
        return dict(data)

    def _stacked(self, item: Mapping[Hashable, Any]) -> bool:
        """Whether the item is one 4-D file of all modalities."""
        return self._stack is not None and self.naming.first not in item and self._stack.applies(item)

    def _opened(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The resolved item, a 4-D file of all modalities taken apart."""
        item = self.resolve(data)
        return self.naming(self._stack(item)) if self._stack is not None and self._stacked(item) else item

    @staticmethod
    def _meta(item: Mapping[Hashable, Any], file: object) -> dict[str, Any]:
        """Metadata of a result: its file, and the scan's grid under the names that MONAI and MONAI Label look for."""
        return {
            "original_affine": item[GRID_AFFINE].clone(),
            "spatial_shape": item[GRID_SHAPE].numpy(),
            "filename_or_obj": file,
        }


def _shown(value: object) -> str:
    """An argument as text that is the same in every process: an object by its fingerprint, else by its type."""
    plain = value is None or isinstance(value, bool | int | float | str | tuple | dict)
    return repr(value if plain else getattr(value, "fingerprint", type(value).__name__))
