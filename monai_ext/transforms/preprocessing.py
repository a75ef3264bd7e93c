"""What all preprocessings of a bundle have in common."""

from __future__ import annotations

from collections.abc import Iterator

from monai.transforms import Transform

__all__ = ["Preprocessing"]


class Preprocessing(Transform):
    """Everything deterministic between the files of a case and the network, as one transform.

    MONAI Label takes a bundle's ``preprocessing`` for a list of transforms and goes through it; this one is the list of
    itself.
    """

    def __iter__(self) -> Iterator[Transform]:
        """The transform itself, once."""
        yield self
