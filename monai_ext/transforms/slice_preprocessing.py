"""From the scans of one patient to a stack of axial slices, as AMLP's networks see them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Orientationd, Transform
from torch import Tensor

from monai_ext.data.io.limits import Limits
from monai_ext.errors import DataError
from monai_ext.transforms.grid import RememberGridd
from monai_ext.transforms.intensity import clip_to_signal
from monai_ext.transforms.labels import CheckLabeld
from monai_ext.transforms.load import LoadVolumed
from monai_ext.transforms.preprocessing import Preprocessing
from monai_ext.transforms.resample import coverage, onto_grid, placed
from monai_ext.transforms.siblings import SiblingModalitiesd, StackedModalitiesd
from monai_ext.transforms.tissue import tissue_statistics

__all__ = ["SlicePreprocessing", "slice_grid"]

SUFFIXES = {"ct": "_CT", "pet": "_PT"}  # of files; other modalities are named after themselves
BRATS_2023 = {"t1": "-t1n", "t1ce": "-t1c", "t2": "-t2w", "flair": "-t2f"}
ALIASES = {"_ct": {"pet": "_pt"}, "CTres": {"pet": "SUV"}} | {end: BRATS_2023 for end in BRATS_2023.values()}
WINDOWS = {"ct": (-150.0, 150.0)}  # HU
HEAD, BODY = Limits(spacing=(0.1, 20), extent=(1, 650)), Limits(spacing=(0.1, 20), extent=(1, 2300), width=(1, 1000))


class SlicePreprocessing(Preprocessing):
    """All that is deterministic between the files of a patient and the network (AMLP, 4.3).

    Finds sibling files; loads, checks and orients them (RAS); clips intensities (percentiles of the non-zero voxels, or
    a window); resamples everything once, onto a grid of ``spacing`` that is ``img_size`` wide and lies about the
    middle of the head or body; subtracts the mean and divides by the standard deviation of the voxels that are not
    zero. Air stays what it is, the darkest value. (The paper's "region nonzero" can also be read as to leave air at
    zero, then the mean of the tissue.)

    An item names its modalities, and optionally ``label``, ``id`` and ``box`` (two corners in mm, RAS, about whose
    middle to crop; HECKTOR has them). Files beside the first one that are named alike need not be named. An item with
    only ``image`` (and ``label``) works too: it is the first modality, or a 4-D file of ``stacked``.

    The result has

    - ``image`` float32 ``[C, *img_size, Z]``,
    - ``label`` uint8 ``[1, *img_size, Z]`` in {0, 1}, if the item has one,
    - ``id`` (the first file's name if the item has none),
    - ``original_affine`` and ``original_shape``, the reference's own grid, for :class:`RestoreToReferenced`,

    and what else was in the item, except its volumes.

    Args:
        modalities: keys of the images, one channel each: BraTS ``t1``, ``t1ce``, ``t2``, ``flair``; HECKTOR ``ct``,
            ``pet``; the paper takes one at a time.
        img_size: pixels of a slice; the paper has 160x160 for BraTS and 144x144 for HECKTOR.
        spacing: mm of a voxel along right-left, posterior-anterior and foot-head; 0 keeps the scan's own.
        percentiles: of the non-zero voxels, to which modalities without a window are clipped.
        windows: modality -> lowest and highest value; by default CT to [-150, 150] HU.
        reference: modality whose grid the label has and predictions are written on; the first one by default. It need
            not be among the modalities (HECKTOR's labels are on CT, also where PET alone is used).
        stacked: modalities along the fourth axis of a 4-D file; by default ``modalities``.
        interpolation: of images, ``nearest`` as in the paper, or ``bilinear``. Labels are always nearest.
        label_values: what a label file may hold; BraTS has 0 to 4, HECKTOR 0 to 2.
        lesion_values: label values that are lesion; by default all above 0, for BraTS the whole tumor.
        with_label: False leaves a label alone (inference).
        repair: set NaN voxels to 0 with a warning instead of refusing the volume.
        limits: limits of the scan in place of a head's (MR) or a body's (CT, PET), see :class:`Limits`.
        tissue: z-score by the voxels above Otsu's threshold instead of all that are not 0, and clip air, see
            :func:`~monai_ext.transforms.tissue.tissue_statistics`; not for modalities with a window.

    Raises:
        DataError: any input that cannot be used; names the case, the file and the remedy.
        ValueError: when an argument is out of its range.
    """

    VERSION = 2  # 2: the label names its own file

    def __init__(
        self,
        modalities: Sequence[str] = ("flair",),
        img_size: Sequence[int] = (160, 160),
        spacing: Sequence[float] = (1.0, 1.0, 1.0),
        percentiles: tuple[float, float] = (1.0, 99.0),
        windows: Mapping[str, tuple[float, float]] | None = None,
        reference: str | None = None,
        stacked: Sequence[str] | None = None,
        interpolation: str = "nearest",
        label_values: Sequence[int] = (0, 1, 2, 3, 4),
        lesion_values: Sequence[int] | None = None,
        with_label: bool = True,
        repair: bool = False,
        tissue: bool = False,
        limits: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        if not modalities or len(img_size) != 2 or len(spacing) != 3 or min(spacing) < 0:
            raise ValueError(
                "one modality or more, two pixel counts and three spacings from 0 are expected, got "
                f"{list(modalities)}, {list(img_size)} and {list(spacing)}"
            )
        if interpolation not in ("nearest", "bilinear"):
            raise ValueError(f"interpolation {interpolation!r} is neither 'nearest' nor 'bilinear'")
        self.modalities, self.img_size, self.spacing = tuple(modalities), tuple(img_size), tuple(spacing)
        self.percentiles = (float(percentiles[0]), float(percentiles[1]))
        self.windows = dict(WINDOWS if windows is None else windows)
        self.reference, self.interpolation = reference or self.modalities[0], interpolation
        self.stacked = tuple(stacked or self.modalities)
        self.label_values = tuple(label_values)
        self.lesion_values = tuple(v for v in label_values if v > 0) if lesion_values is None else tuple(lesion_values)
        self.with_label, self.repair, self.tissue = with_label, repair, tissue
        self.limits = (BODY if {"ct", "pet"} & {*self.modalities, self.reference} else HEAD).changed(limits)
        first, *others = dict.fromkeys((self.reference, *self.modalities))
        self._used = (first, *others)
        labels = ("label",) if with_label else ()
        super().__init__(
            SiblingModalitiesd(first, {key: SUFFIXES.get(key, f"_{key}") for key in others}, aliases=ALIASES),
            StackedModalitiesd("image", self.stacked),
        )
        self._load: tuple[Transform, ...] = (
            LoadVolumed((*self._used, *labels), repair, allow_missing_keys=True, limits=self.limits),
            RememberGridd(first),
            *(CheckLabeld(key, first, self.label_values, allow_missing_keys=True) for key in labels),
            Orientationd((*self._used, *labels), axcodes="RAS", labels=None, allow_missing_keys=True),
        )

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Prepare one item."""
        item = self._opened(data)
        unused = {*self.stacked, "image"} - {*self._used}
        item = {key: value for key, value in item.items() if key not in unused}
        for transform in self._load:
            item = transform(item)
        case, reference = item.get("id"), item[self.reference]
        signals = {}
        for key in self.modalities:
            values = clip_to_signal(item[key].as_tensor(), self.percentiles, self.windows.get(key))
            if not values.any():
                found = f"{key} shows nothing" + (f" in its window {self.windows[key]}" if key in self.windows else "")
                raise DataError(found, "Check units and modality.", case, item[key].meta.get("filename_or_obj"))
            signals[key] = values
        shown = signals.get(self.reference)
        if shown is None:
            shown = clip_to_signal(reference.as_tensor(), self.percentiles, self.windows.get(self.reference))
        affine, shape = slice_grid(shown, reference.affine, self.spacing, self.img_size, item.pop("box", None))
        meta = self._meta(item, reference.meta["filename_or_obj"])
        channels = [self._channel(signals[key], item[key], key, affine, shape, case) for key in self.modalities]
        item["image"] = placed(torch.cat(channels), affine, meta)
        if self.with_label and "label" in item:
            item["label"] = self._label(item["label"], affine, shape, case, meta)
        return {key: value for key, value in item.items() if key not in self._used}

    def _channel(
        self, signal: Tensor, source: MetaTensor, key: str, affine: Tensor, shape: tuple[int, ...], case: object
    ) -> Tensor:
        """One modality on the grid of slices, z-scored."""
        file = source.meta.get("filename_or_obj")
        if coverage(source.affine, source.shape[1:], affine, shape) == 0:
            found = f"{key} and {self.reference} do not overlap in space"
            raise DataError(found, "Are they of the same patient and study, with intact headers?", case, file)
        inside = signal[signal != 0]
        mean, std, floor = float(inside.mean()), float(inside.std(correction=0)), -math.inf
        if self.tissue and key not in self.windows:
            mean, std, floor = tissue_statistics(inside)
        values = onto_grid(MetaTensor(signal, affine=source.affine), affine, shape, self.interpolation)
        return (values.as_subclass(Tensor).float().clamp_min(floor) - mean) / (std if std > 0 else 1.0)

    def _label(
        self, label: MetaTensor, affine: Tensor, shape: tuple[int, ...], case: object, meta: Mapping[str, Any]
    ) -> MetaTensor:
        """The lesion on the grid of slices; a warning where the crop cuts it."""
        lesion = torch.isin(label.as_tensor(), torch.tensor(self.lesion_values, dtype=label.dtype)).float()
        found = onto_grid(MetaTensor(lesion, affine=label.affine), affine, shape, "nearest")
        kept = found.as_subclass(Tensor) > 0.5
        places = torch.nonzero(lesion[0]).double() @ label.affine[:3, :3].T.double() + label.affine[:3, 3].double()
        voxels = (places - affine[:3, 3]) @ torch.linalg.inv(affine[:3, :3]).T
        lost = int(((voxels < -0.5) | (voxels > torch.tensor(shape) - 0.5)).any(1).sum())
        if lost:
            file = label.meta.get("filename_or_obj")
            share = f"{lost} of {len(places)} lesion voxels lie outside the crop"
            warnings.warn(f"case {case}: {file}: {share}; enlarge img_size", stacklevel=3)
        return placed(kept.to(torch.uint8), affine, {**meta, "filename_or_obj": label.meta["filename_or_obj"]})


def slice_grid(
    signal: Tensor,
    affine: Tensor,
    spacing: Sequence[float],
    img_size: Sequence[int],
    box: Sequence[float] | None = None,
) -> tuple[Tensor, tuple[int, int, int]]:
    """Grid of the slices: in-plane about the middle of what is shown, along z the whole scan.

    Args:
        signal: ``[1, X, Y, Z]``, 0 where there is nothing; oriented to RAS.
        affine: ``[4, 4]`` of the signal, voxel to mm.
        spacing: mm along X, Y and Z; 0 keeps the signal's.
        img_size: pixels along X and Y.
        box: two corners in mm, whose middle is taken instead.

    Returns:
        Affine float64 ``[4, 4]`` and shape. The axes point where the signal's do.
    """
    affine = affine.double()
    own = affine[:3, :3].norm(dim=0)
    new = torch.tensor([mm if mm > 0 else float(voxel) for mm, voxel in zip(spacing, own)], dtype=torch.float64)
    size = torch.tensor(signal.shape[1:], dtype=torch.float64)
    if box is not None:
        corner = torch.tensor(box, dtype=torch.float64)
        middle = torch.linalg.solve(affine[:3, :3], (corner[:3] + corner[3:]) / 2 - affine[:3, 3])
    else:
        # Where a row or column holds some of it, not a stray voxel.
        middle = (size - 1) / 2
        for axis in (0, 1):
            profile = (signal[0] != 0).float().sum([other for other in range(3) if other != axis])
            inside = torch.nonzero(profile > 0.2 * profile.max())
            middle[axis] = (inside.min() + inside.max()).double() / 2
    middle[2] = (size[2] - 1) / 2
    shape = (int(img_size[0]), int(img_size[1]), max(1, round(float(size[2] * own[2] / new[2]))))
    start = middle - (torch.tensor(shape).double() - 1) / 2 * new / own  # in voxels of the signal
    start = torch.where((new - own).abs() < 1e-4, start.round(), start)  # the same voxels: nothing to interpolate
    result = torch.eye(4, dtype=torch.float64)
    result[:3, :3] = affine[:3, :3] / own * new
    result[:3, 3] = affine[:3, :3] @ start + affine[:3, 3]
    return result, shape
