"""What inference writes of lesions: probability and mask on the scan's own grid, and a DICOM-SEG on request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.transforms import Activationsd, AsDiscreted, Compose, Lambdad
from torch import Tensor

from monai_ext.transforms.dicom_seg import SaveDicomSegd
from monai_ext.transforms.grid import RestoreToReferenced
from monai_ext.transforms.save_prediction import SavePredictiond

__all__ = ["LesionOutput", "LesionProbability"]


def _lesion(scores: Tensor) -> Tensor:
    """Channels of a softmax without the background."""
    return scores[1:]


class LesionProbability(Compose):
    """From the two class scores ``pred`` of a decollated item to ``lesion_probability`` on the scan's own grid.

    Args:
        mask: replace ``pred`` by the label map of the likelier class; otherwise ``pred`` holds both probabilities.
    """

    def __init__(self, mask: bool = True) -> None:
        steps: list[Any] = [
            Activationsd("pred", softmax=True),
            RestoreToReferenced("pred"),
            Lambdad("pred", _lesion, overwrite="lesion_probability"),
        ]
        super().__init__([*steps, AsDiscreted("pred", argmax=True)] if mask else steps)


class LesionOutput(Compose):
    """Write ``<id>_probability.nii.gz`` and ``<id>_seg.nii.gz`` of every case, and ``<id>_seg.dcm`` if asked for.

    Args:
        output_dir: folder of all cases.
        restore: makes ``lesion_probability`` and the mask ``pred`` on the scan's grid from the network's scores;
            :class:`LesionProbability` by default.
        maps: further maps that ``restore`` makes, each written under its own name.
        dicom_seg: write a DICOM-SEG too, for cases read from DICOM.
        bundle_root: directory of the bundle, whose metadata name the segments of a DICOM-SEG.
    """

    def __init__(
        self,
        output_dir: str | Path,
        restore: Callable[..., Any] | None = None,
        maps: Sequence[str] = (),
        dicom_seg: bool = False,
        bundle_root: str | Path = "",
    ) -> None:
        restore = LesionProbability() if restore is None else restore
        names = {"lesion_probability": "probability"} | {name: name for name in maps}
        steps = [*(restore.transforms if isinstance(restore, Compose) else [restore])]
        steps += [SavePredictiond(key, str(output_dir), postfix) for key, postfix in names.items()]
        steps.append(SavePredictiond("pred", str(output_dir), "seg", np.uint8))
        super().__init__([*steps, SaveDicomSegd("pred", bundle_root, output_dir)] if dicom_seg else steps)
