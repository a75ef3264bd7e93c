"""From the PET and the CT of one study to the two-channel volume that the networks see."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Orientationd, Spacing

from monai_ext.data.io.limits import Limits
from monai_ext.data.io.pet import read_pet
from monai_ext.errors import DataError
from monai_ext.transforms.clicks import ClickChannels, Encoding, read_clicks
from monai_ext.transforms.fixed_scale import FixedScale
from monai_ext.transforms.grid import GRID_AFFINE, RememberGridd, ResampleToReferenced
from monai_ext.transforms.labels import CheckLabeld
from monai_ext.transforms.load import LoadVolumed
from monai_ext.transforms.preprocessing import Preprocessing
from monai_ext.transforms.resample import placed
from monai_ext.transforms.siblings import SiblingModalitiesd, StackedModalitiesd

__all__ = ["CT_AFFINE", "CT_SHAPE", "PETCTPreprocessing"]

MODALITIES = ("ct", "pet")  # channels of the image and volumes of a stacked file, nnU-Net's 0000 and 0001
AIR = -1024.0  # HU outside the scanned part of the CT
CT_AFFINE, CT_SHAPE = "ct_affine", "ct_shape"
# autoPET in nnU-Net's naming and as TCIA's conversion script leaves it.
ALIASES = {"_0001": {"ct": "_0000"}, "SUV": {"ct": "CTres"}}
# autoPET's statistics inside lesions: percentiles 0.5 and 99.5, mean, standard deviation.
CT_SCALE, PET_SCALE = FixedScale(-832.0, 1127.5, 107.78, 286.17), FixedScale(1.044, 51.60, 7.09, 8.01)

PETNorm = Literal["fixed", "zscore"]


class PETCTPreprocessing(Preprocessing):
    """The deterministic preprocessing from the files of a PET/CT study to the network (BiXLSTM-ResNet, section 2.3).

    It finds the CT beside the PET; loads both (PET in SUV; a DICOM series is converted) and checks them; orients them
    (RAS); resamples the CT onto the grid of the PET; resamples both to ``spacing``; scales them with fixed numbers,
    because HU and SUV are physical quantities; and stacks CT, PET.

    An item names ``pet`` and ``ct``, and optionally ``label``, ``clicks`` and ``id``. Given ``case_pet.nii.gz``,
    ``case_0001.nii.gz`` (nnU-Net) or ``SUV.nii.gz`` (TCIA) alone, ``case_ct``, ``case_0000`` or ``CTres`` is found
    beside it. An item with only ``image`` works too: the PET, or one 4-D file of CT and PET in this order.

    A modality in ``allow_missing`` may be absent: its channel is then 0, the mean of a scaled image, and the log says
    so. ``["ct"]`` is the PET-only mode of inference; ``["pet"]`` admits CT scans to the pretraining.

    The result has

    - ``image`` float32 ``[2, X, Y, Z]``: CT and PET (``[4, X, Y, Z]`` with ``clicks``: lesion and background clicks),
    - ``label`` uint8 ``[1, X, Y, Z]`` in {0, 1}, if the item has one; its metadata name the label's file,
    - ``id`` (by default from the name of the first file),
    - ``original_affine`` and ``original_shape``: the grid of the PET (of the CT where there is no PET),
    - ``ct_affine`` and ``ct_shape``: the grid of the CT, if there is one,

    and all other values of the item, except the files that these were made from.

    Args:
        spacing: mm of a voxel along X, Y, Z; None keeps the grid of the PET.
        pet_norm: ``"fixed"`` (SUV clipped to [1.044, 51.60], less 7.09, over 8.01) or ``"zscore"`` of each image.
        allow_missing: modalities that an item may lack, see above.
        clicks: ``"balls"`` or ``"gaussian"`` adds two click channels (see :class:`ClickChannels`), empty for a case
            without clicks; None for none.
        with_label: False ignores the label.
        label_values: values that a label file may hold.
        lesion_from: smallest label value that counts as lesion.
        repair: True sets NaN voxels to 0 with a warning instead of refusing the volume.
        scales: fixed numbers by modality in place of autoPET's: lower end, upper end, mean and standard deviation in HU
            (``ct``) and SUV (``pet``), and True for those of the logarithm, see :class:`FixedScale`.
        limits: limits of the scan in place of the class's, by name: ``{"extent": [10, 900]}``, see :class:`Limits`.

    Raises:
        DataError: an input cannot be used; the error names the case, the file and the remedy.
        ValueError: an argument has an unknown value.
    """

    LIMITS = Limits(spacing=(0.2, 20), extent=(1, 2300), width=(1, 1000))

    def __init__(
        self,
        spacing: Sequence[float] | None = (2.036, 2.036, 3.0),
        pet_norm: PETNorm = "fixed",
        allow_missing: Sequence[str] = (),
        clicks: Encoding | None = None,
        with_label: bool = True,
        label_values: Sequence[int] = (0, 1),
        lesion_from: int = 1,
        repair: bool = False,
        scales: Mapping[str, Sequence[Any]] | None = None,
        limits: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        if pet_norm not in get_args(PETNorm):
            raise ValueError(f"pet_norm {pet_norm!r} is not one of {get_args(PETNorm)}")
        if unknown := sorted(set(allow_missing) - set(MODALITIES)):
            raise ValueError(f"allow_missing names {unknown}, the modalities are {MODALITIES}")
        self.spacing = None if spacing is None else tuple(float(mm) for mm in spacing)
        self.pet_norm, self.allow_missing, self.clicks = pet_norm, tuple(sorted(allow_missing)), clicks
        self.with_label, self.label_values, self.lesion_from = with_label, tuple(label_values), lesion_from
        self.repair, self.limits = repair, self.LIMITS.changed(limits)
        if unknown := sorted(set(scales or {}) - set(MODALITIES)):
            raise ValueError(f"scales names {unknown}, the modalities are {MODALITIES}")
        self.scales = {key: FixedScale(*values) for key, values in (scales or {}).items()}
        ct, needed = {"ct": "_ct"}, "ct" not in allow_missing
        super().__init__(
            SiblingModalitiesd("pet", ct if needed else {}, optional={} if needed else ct, aliases=ALIASES),
            StackedModalitiesd("image", MODALITIES),
        )
        self._channels = None if clicks is None else ClickChannels(clicks)

    def resolve(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with an id and with every file it will be computed from; reads nothing but a header."""
        item = self._identified(data, "pet", "image", "ct")
        if "pet" in self.allow_missing and "ct" in item and not {"pet", "image"} & item.keys():
            return item
        try:
            return super().resolve(item)
        except DataError as error:
            missing = error
        hint = "To use the PET alone set preprocessing#allow_missing to ['ct']; expect less of it."
        hint = f" {hint}" if missing.cause.startswith("ct is missing") else ""
        raise DataError(missing.cause, missing.remedy + hint, missing.case, missing.file)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Prepare one item."""
        item: dict[Hashable, Any] = self._opened(data)
        case = item.get("id")
        found = tuple(key for key in MODALITIES if item.get(key) is not None)
        for key in sorted(set(MODALITIES) - set(found)):
            if key not in self.allow_missing:  # a stacked file always has both
                raise DataError(f"the item has no {key}", f"Name it in the datalist as {key!r}.", case)
            warnings.warn(f"case {case}: no {key}; the network sees 0 in its channel", stacklevel=2)
        labels = ("label",) if self.with_label and item.get("label") is not None else ()
        if "pet" in found and not isinstance(item["pet"], MetaTensor):
            item["pet"] = read_pet(item["pet"], case)
        item = LoadVolumed((*found, *labels), self.repair, limits=self.limits)(item)
        reference = "pet" if "pet" in found else "ct"
        item = RememberGridd(reference)(item)
        if "ct" in found:
            item[CT_AFFINE] = item["ct"].affine.clone().double()
            item[CT_SHAPE] = torch.tensor(item["ct"].shape[1:], dtype=torch.int64)
        if labels:
            item = CheckLabeld(labels, reference, self.label_values)(item)
        meta = self._meta(item, item[reference].meta["filename_or_obj"])
        item.update(Orientationd((*found, *labels), axcodes="RAS", labels=None)(item))
        if len(found) == 2:
            item = ResampleToReferenced("ct", "pet", fill=AIR)(item)
        volumes = {key: self._spaced(item[key], "bilinear") for key in found}
        grid = volumes[reference]
        absent = torch.zeros_like(grid.as_tensor())
        scaled = [self._scaled(key, volumes[key].as_tensor()) if key in found else absent for key in MODALITIES]
        if self._channels is not None:
            points = read_clicks(item.get("clicks"), case)
            to_grid = torch.linalg.solve(grid.affine.double(), item[GRID_AFFINE])
            scaled.append(self._channels(points, to_grid.numpy(), grid.shape[1:]))
        item["image"] = placed(torch.cat(scaled), grid.affine, meta)
        for key in labels:
            file = item[key].meta["filename_or_obj"]
            lesion = (self._spaced(item[key], "nearest").as_tensor() >= self.lesion_from).to(torch.uint8)
            item[key] = placed(lesion, grid.affine, meta | {"filename_or_obj": file})
        return {key: value for key, value in item.items() if key not in (*MODALITIES, "clicks")}

    def _spaced(self, volume: MetaTensor, mode: str) -> MetaTensor:
        """Resample the volume to the spacing of the network; its extent stays the same."""
        if self.spacing is None or np.allclose(volume.pixdim, self.spacing, rtol=1e-3):
            return volume
        # Not Spacingd, which trips over strings that MONAI Label puts under "<key>_path".
        respace = Spacing(
            self.spacing, mode=mode, padding_mode="border", align_corners=False, scale_extent=True, dtype=np.float64
        )
        return respace(volume).to(volume.dtype)  # type: ignore[return-value]

    def _scaled(self, key: str, values: torch.Tensor) -> torch.Tensor:
        if key == "pet" and self.pet_norm == "zscore":
            return (values - values.mean()) / values.std().clamp(min=1e-6)
        return self.scales.get(key, CT_SCALE if key == "ct" else PET_SCALE)(values)
