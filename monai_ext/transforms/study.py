"""From the files of one bpMRI study to volumes on the grid of T2W."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.transforms import Orientationd, Transform

from monai_ext.data.io.limits import Limits
from monai_ext.transforms.grid import RememberGridd, ResampleToReferenced
from monai_ext.transforms.high_b import HighBValued
from monai_ext.transforms.labels import CheckLabeld
from monai_ext.transforms.load import LoadVolumed
from monai_ext.transforms.preprocessing import Preprocessing
from monai_ext.transforms.siblings import SiblingModalitiesd, StackedModalitiesd

__all__ = ["MEASURED", "MODALITIES", "OPTIONAL", "PELVIS", "LoadStudy"]

MODALITIES = ("t2w", "adc", "hbv")
MEASURED = ("dwi_b50", "dwi_b1000")
PELVIS = Limits(spacing=(0.05, 20), extent=(1, 650))  # of MR; mm
OPTIONAL = {"gland": "_gland", "dwi_b50": "_dwi_b50", "dwi_b1000": "_dwi_b1000"}


class LoadStudy(Preprocessing):
    """Find sibling files; load, check and orient them (RAS); compute missing high-b and ADC; resample onto T2W.

    An item names ``t2w``, ``adc``, ``hbv`` (or ``dwi_b50`` and ``dwi_b1000``), and optionally ``gland``, ``label`` and
    ``id``; files beside T2W that are named alike need not be named (:class:`SiblingModalitiesd`). An item with only
    ``image`` (and ``label``) works too: T2W, or one 4-D file of the three.

    In the result these keys are volumes ``[1, X, Y, Z]`` on the grid of T2W in RAS, and ``original_affine`` and
    ``original_shape`` are T2W's own grid, for :class:`RestoreToReferenced`.

    Args:
        with_label: False ignores the label (inference).
        label_values: values that a label file may hold; those of PI-CAI are ISUP grades.
        repair: True sets NaN voxels to 0 with a warning instead of refusing the volume.
        limits: limits of the scan in place of the class's, by name: ``{"extent": [10, 900]}``, see :class:`Limits`.

    Raises:
        DataError: an input cannot be used; the error names the case, the file and the remedy.
    """

    LIMITS = PELVIS

    def __init__(
        self,
        with_label: bool = True,
        label_values: Sequence[int] = (0, 1, 2, 3, 4, 5),
        repair: bool = False,
        limits: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        self.with_label, self.label_values, self.repair = with_label, tuple(label_values), repair
        self.limits = self.LIMITS.changed(limits)
        labels = ("label",) if with_label else ()
        masks = ("gland", *labels)
        super().__init__(
            SiblingModalitiesd("t2w", optional=OPTIONAL, unless={"adc": MEASURED, "hbv": MEASURED}),
            StackedModalitiesd("image", MODALITIES),
        )
        self._steps: tuple[Transform, ...] = (
            LoadVolumed(
                (*MODALITIES, *MEASURED, *masks), repair, masks=masks, allow_missing_keys=True, limits=self.limits
            ),
            HighBValued(*MEASURED),
            RememberGridd("t2w"),
            *(CheckLabeld(label, "t2w", tuple(label_values), allow_missing_keys=True) for label in labels),
            # The order of the axes in a file depends on its format, which must not reach the network.
            Orientationd((*MODALITIES, *masks), axcodes="RAS", labels=None, allow_missing_keys=True),
            ResampleToReferenced(("adc", "hbv"), "t2w"),
            ResampleToReferenced("gland", "t2w", mode="nearest", allow_missing_keys=True),
        )

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Load one item."""
        item = self._opened(data)
        for transform in self._steps:
            item = transform(item)
        return item
