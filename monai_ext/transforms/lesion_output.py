"""What inference writes of lesions, and evaluation judges: probability and mask on the scan's own grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.transforms import Activationsd, Compose, Lambdad
from torch import Tensor

from monai_ext.transforms.grid import RestoreToReferenced
from monai_ext.transforms.mask_output import MaskOutput

__all__ = ["LesionOutput", "LesionProbability"]


def _lesion(scores: Tensor) -> Tensor:
    """Channels of a softmax without the background."""
    return scores[1:]


class LesionProbability(Compose):
    """From the two class scores ``pred`` of a decollated item to ``lesion_probability`` on the scan's own grid.

    Args:
        mask: replace ``pred`` by the mask; otherwise ``pred`` holds both probabilities.
        threshold: a probability above this is lesion.
    """

    def __init__(self, mask: bool = True, threshold: float = 0.5) -> None:
        def above(scores: Tensor) -> Tensor:
            return (scores[1:] > threshold).to(torch.uint8)

        steps: list[Any] = [
            Activationsd("pred", softmax=True),
            RestoreToReferenced("pred"),
            Lambdad("pred", _lesion, overwrite="lesion_probability"),
        ]
        super().__init__([*steps, Lambdad("pred", above)] if mask else steps)


class LesionOutput(MaskOutput):
    """Write ``<id>_probability.nii.gz`` and ``<id>_seg.nii.gz`` of every case, and ``<id>_seg.dcm`` if asked for.

    Args:
        output_dir: folder of all cases; None writes nothing, for an evaluation.
        restore: makes ``lesion_probability`` and the mask ``pred`` on the scan's grid from the network's scores;
            :class:`LesionProbability` by default.
        maps: further maps that ``restore`` makes, each written under its own name.
        threshold: a probability above this is lesion.
        min_ml: volume of the smallest lesion that stays in the mask, in ml.
        largest: only the largest lesion stays in the mask.
        dicom_seg: write a DICOM-SEG too, for cases read from DICOM.
        bundle_root: directory of the bundle, whose metadata name the segments of a DICOM-SEG.
    """

    def __init__(
        self,
        output_dir: str | Path | None,
        restore: Callable[..., Any] | None = None,
        maps: Sequence[str] = (),
        threshold: float = 0.5,
        min_ml: float = 0.0,
        largest: bool = False,
        dicom_seg: bool = False,
        bundle_root: str | Path = "",
    ) -> None:
        restore = LesionProbability(threshold=threshold) if restore is None else restore
        names = {"lesion_probability": "probability"} | {name: name for name in maps}
        super().__init__(output_dir, restore, names, min_ml, largest, dicom_seg, bundle_root)
