"""What inference writes of a study, and what evaluation judges: maps and the mask on the scan's own grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.transforms import Compose

from monai_ext.transforms.components import KeepComponentsd
from monai_ext.transforms.dicom_seg import SaveDicomSegd
from monai_ext.transforms.save_prediction import SavePredictiond

__all__ = ["MaskOutput"]


class MaskOutput(Compose):
    """Write ``<id>_seg.nii.gz`` of every case, a file for each of its maps, and ``<id>_seg.dcm`` if asked for.

    The mask is written last of the NIfTI files: that it is there says that they are. An evaluation, which judges the
    same masks, writes none.

    Args:
        output_dir: folder of all cases; None writes nothing.
        restore: makes the label map ``pred``, and the maps, on the scan's grid from what the network gives.
        maps: further maps that ``restore`` makes, and the postfix of the file of each.
        min_ml: volume of the smallest connected component of the mask that stays, in ml.
        largest: of each label only the largest connected component stays.
        dicom_seg: write a DICOM-SEG too, for cases read from DICOM.
        bundle_root: directory of the bundle, whose metadata name the segments of a DICOM-SEG.
        segments: their names in order, in place of the metadata's.
    """

    def __init__(
        self,
        output_dir: str | Path | None,
        restore: Callable[..., Any],
        maps: Mapping[str, str] | None = None,
        min_ml: float = 0.0,
        largest: bool = False,
        dicom_seg: bool = False,
        bundle_root: str | Path = "",
        segments: Sequence[str] | None = None,
    ) -> None:
        steps = [*(restore.transforms if isinstance(restore, Compose) else [restore])]
        if min_ml > 0 or largest:
            steps.append(KeepComponentsd("pred", min_ml, largest))
        if output_dir is not None:
            steps += [SavePredictiond(key, str(output_dir), postfix) for key, postfix in (maps or {}).items()]
            steps.append(SavePredictiond("pred", str(output_dir), "seg", np.uint8))
        if output_dir is not None and dicom_seg:
            steps.append(SaveDicomSegd("pred", bundle_root, output_dir, segments=segments))
        super().__init__(steps)
