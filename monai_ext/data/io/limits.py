"""How large an image may be: voxels and memory absolutely, voxel size and field of view by what a bundle is for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

from torch import Tensor

from monai_ext.errors import ConfigError, DataError

__all__ = ["Limits", "check_budget", "voxel_budget"]

DEFAULT = 2**29  # 512 x 512 x 2048, a CT of the whole body in slices of 1 mm
BYTES = 16  # of memory per voxel while a file is read and checked, at the most: four copies as float32
OPTION = "MONAI_EXT_MAX_VOXELS"


def voxel_budget() -> int:
    """Most voxels that a file may hold: the environment's ``MONAI_EXT_MAX_VOXELS``, or 512 x 512 x 2048 (8 GiB).

    Raises:
        ConfigError: the variable is no number above 0.
    """
    text = os.environ.get(OPTION, "")
    if text and not (text.isdigit() and int(text) > 0):
        raise ConfigError(f"{OPTION}={text} is no number of voxels: give one such as {DEFAULT}")
    return int(text) if text else DEFAULT


def check_budget(voxels: int, file: object) -> None:
    """Refuse a file of more voxels than :func:`voxel_budget`, of all its volumes together, before any is read.

    Raises:
        DataError: names the file, its voxels and the option.
    """
    if voxels > (most := voxel_budget()):
        cause = f"{voxels} voxels take {voxels * BYTES / 2**30:.1f} GiB to read; at most {most} voxels are read"
        raise DataError(cause, f"Crop or resample it, or set {OPTION}={voxels} if there is the memory.", file=file)


@dataclass(frozen=True)
class Limits:
    """What is plausible of a scan; each is the lowest and the highest value in mm.

    Args:
        spacing: side of a voxel along each axis.
        extent: field of view along each axis.
        width: field of view along the second longest axis: a body is longer than it is wide.

    Example:
        >>> import torch
        >>> from monai_ext.data.io.limits import Limits
        >>> from monai_ext.errors import DataError
        >>> limits = Limits(spacing=(0.1, 20), extent=(20, 600))
        >>> limits.check(torch.diag(torch.tensor([0.5, 0.5, 3.0, 1.0])), (384, 384, 24))
        >>> try:
        ...     limits.check(torch.diag(torch.tensor([5.0, 5.0, 30.0, 1.0])), (384, 384, 24))
        ... except DataError as error:
        ...     print(error.cause)
        voxels of 5 x 5 x 30 mm; 0.1 to 20 mm are expected
    """

    spacing: tuple[float, float] = (0.005, 50.0)
    extent: tuple[float, float] = (2.0, 2500.0)
    width: tuple[float, float] = (2.0, 1100.0)

    def changed(self, values: Mapping[str, Sequence[float]] | None) -> Limits:
        """These limits with others in the place of some.

        Raises:
            ValueError: a name is unknown, or a pair is not two numbers in order.
        """
        known = [part.name for part in fields(self)]
        for name, pair in (values or {}).items():
            if name not in known or len(pair) != 2 or not 0 <= pair[0] <= pair[1]:
                raise ValueError(f"limits {name}={list(pair)} are no lowest and highest value of one of {known}")
        return replace(self, **{name: (float(low), float(high)) for name, (low, high) in (values or {}).items()})

    def check(self, affine: Tensor, shape: Sequence[int], case: object = None, file: object = None) -> None:
        """Refuse a grid out of the limits.

        Args:
            affine: ``[4, 4]`` voxel to mm.
            shape: voxels along the three axes.
            case: id of the case, for the error.
            file: path of the file, for the error.

        Raises:
            DataError: names what is out of which limits.
        """
        sides = affine[:3, :3].double().norm(dim=0).tolist()
        extent = [side * count for side, count in zip(sides, shape)]
        for what, values, (low, high) in (
            ("voxels", sides, self.spacing),
            ("a field of view", extent, self.extent),
            ("a field of view", sorted(extent)[1:2], self.width),
        ):
            if min(values) < low or max(values) > high:
                cause = f"{what} of {' x '.join(f'{mm:.3g}' for mm in values)} mm; {low:g} to {high:g} mm are expected"
                remedy = (
                    "Is the header in mm, and the scan of what the bundle is for? preprocessing#limits changes them."
                )
                raise DataError(cause, remedy, case, file)
