"""From the scans of one bpMRI study and its anomaly maps to the input of the segmenter."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Orientation, Transform
from torch import Tensor

from monai_ext.errors import DataError
from monai_ext.transforms.anomaly_mapper import AnomalyMapper
from monai_ext.transforms.intensity import ClipZScored, ScaleADCd
from monai_ext.transforms.load import LoadVolumed
from monai_ext.transforms.prostate_crop import crop_affine
from monai_ext.transforms.resample import onto_grid, placed
from monai_ext.transforms.study import MODALITIES, OPTIONAL, LoadStudy

__all__ = ["ProstatePreprocessing", "map_key"]


def map_key(modality: str) -> str:
    """Key of an anomaly map in an item: ``adc`` -> ``adc_map``."""
    return f"{modality}_map"


class ProstatePreprocessing(LoadStudy):
    """The deterministic preprocessing from the files of a study to the input of adU-Net (III.A).

    It loads like :class:`LoadStudy`; normalizes T2W and high-b by clipping and z-score, and ADC as a physical quantity;
    takes the anomaly maps of ``maps`` from the files ``t2w_map``, ``adc_map``, ``hbv_map`` of the item, or makes
    missing ones with ``mapper``; and crops all volumes to a box of fixed size in mm around the gland.

    A map that comes from another patient (``maps_of`` in the item, a control experiment) is moved so that both glands
    have the same centre.

    The result has ``image`` float32 ``[3 + maps, *size]`` (T2W, ADC, high-b, maps), ``gland`` uint8 ``[1, *size]`` (1;
    or 1 = PZ and 2 = TZ where it is that of the zones), ``gland_source`` (``zones``, ``mask`` or ``network``),
    ``label`` uint8 ``[1, *size]`` in {0, 1} if the item has one, ``id``, and ``original_affine`` and
    ``original_shape``, T2W's own grid, for :class:`RestoreToReferenced`.

    Args:
        spacing: mm per voxel along each axis.
        size: voxels of the box along each axis, the same for all patients; the paper crops to the union of PZ and TZ.
        maps: modalities whose anomaly map becomes a channel.
        map_scale: factor of the map channels, the same for all patients, because a z-score per case would make healthy
            and diseased patients look alike. 0 gives channels of zeros and needs no map (a control experiment).
        mapper: mapper that makes the maps of an item without maps.
        gland_network: network that finds the gland of an item without a mask: normalized T2W ``[1, X, Y, Z]`` -> mask.
        zones: True crops by PZ and TZ (file ``zones``) if an item has them, otherwise by the gland mask.
        with_label: False ignores the label.
        label_values: values that a label file may hold.
        lesion_from: smallest label value that counts as lesion (2 for significant cancer by ISUP grade).
        repair: True sets NaN voxels to 0 with a warning instead of refusing the volume.
        limits: limits of the scan in place of the class's, by name: ``{"extent": [10, 900]}``, see :class:`Limits`.

    Raises:
        DataError: an input cannot be used; the error names the case, the file and the remedy.
    """

    VERSION = 3  # 3: the gland keeps its zones

    def __init__(
        self,
        spacing: Sequence[float] = (0.5, 0.5, 3.0),
        size: Sequence[int] = (192, 192, 32),
        maps: Sequence[str] = (),
        map_scale: float = 2.0,
        mapper: AnomalyMapper | None = None,
        gland_network: Callable[[Tensor], Tensor] | None = None,
        zones: bool = True,
        with_label: bool = True,
        label_values: Sequence[int] = (0, 1, 2, 3, 4, 5),
        lesion_from: int = 1,
        repair: bool = False,
        limits: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        if unknown := [m for m in maps if m not in MODALITIES]:
            raise ValueError(f"maps {unknown} are none of {MODALITIES}")
        super().__init__(with_label, label_values, repair, limits)
        self.spacing, self.size, self.maps, self.map_scale = tuple(spacing), tuple(size), tuple(maps), map_scale
        self.mapper, self.gland_network, self.zones = mapper if maps else None, gland_network, zones
        self.lesion_from = lesion_from
        self._scale: tuple[Transform, ...] = (ClipZScored(("t2w", "hbv")), ScaleADCd("adc"))

    def resolve(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with an id and with every file it will be computed from."""
        item = super().resolve(data)
        if self.zones and item.get("zones") is not None:
            item["gland"] = item["zones"]
        return item

    def study(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Normalized ``t2w``, ``adc``, ``hbv`` and ``gland`` ``[1, X, Y, Z]`` on the grid of T2W, and other values."""
        item = super().__call__(data)
        item["gland_source"] = "zones" if self.zones and item.get("zones") is not None else "mask"
        for transform in self._scale:
            item = transform(item)
        if "gland" not in item:
            if self.gland_network is None:
                remedy = "Give a gland mask with the case, or train the gland phase (run gland) and name its weights."
                raise DataError("there is no gland mask, and no network to find the gland", remedy, item.get("id"))
            found = torch.as_tensor(self.gland_network(item["t2w"])).to(torch.uint8)
            item["gland_source"] = "network"
            item["gland"] = MetaTensor(found, affine=item["t2w"].affine.clone(), meta=dict(item["t2w"].meta))
        return item

    def _maps(self, item: dict[Hashable, Any], data: Mapping[Hashable, Any]) -> dict[str, MetaTensor]:
        """Anomaly maps by modality, each on its own grid."""
        if not self.map_scale:
            return {}
        case = item.get("id")
        given = [m for m in self.maps if data.get(map_key(m)) is not None]
        keys = [map_key(m) for m in given]
        loaded: dict[Hashable, Any] = LoadVolumed(keys, masks=keys)(item) if given else {}
        maps: dict[str, Any] = {m: Orientation("RAS", labels=None)(loaded[map_key(m)]) for m in given}
        if missing := [m for m in self.maps if m not in maps]:
            if self.mapper is None:
                remedy = f"Name {', '.join(map(map_key, missing))} in the datalist, or give the generators."
                raise DataError(f"there is no anomaly map of {', '.join(missing)}", remedy, case)
            if outside := [m for m in missing if m not in self.mapper.modalities]:
                raise DataError(f"there is no generator of {', '.join(outside)}", "Add it to the mapper.", case)
            labelled = self.with_label and "label" in item
            made = self.mapper(item, str(item.get("patient", case)), labelled)
            maps |= {m: made[m] for m in missing}
        if item.get("maps_of") not in (None, case):
            maps = {m: _recentred(image, item["gland"]) for m, image in maps.items()}
        return maps

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Prepare one item."""
        item = self.study(data)
        gland, labelled = item["gland"], self.with_label and "label" in item
        files = {key: item[key].meta["filename_or_obj"] for key in ("t2w", *(("label",) if labelled else ()))}
        affine = crop_affine(gland, self.spacing, self.size, item.get("id"), gland.meta.get("filename_or_obj"))
        maps = self._maps(item, data)
        channels = [onto_grid(item[m], affine, self.size).as_tensor() for m in MODALITIES]
        blank = torch.zeros_like(channels[0])
        for modality in self.maps:
            found = onto_grid(maps[modality], affine, self.size).as_tensor() if modality in maps else blank
            channels.append(found * self.map_scale)
        result = {"image": torch.cat(channels), "gland": onto_grid(gland.float(), affine, self.size, "nearest")}
        if item["gland_source"] != "zones":
            result["gland"] = (result["gland"] != 0).float()
        if labelled:
            lesion = (item["label"] >= self.lesion_from).float()
            result["label"] = onto_grid(lesion, affine, self.size, "nearest")
        for key, value in result.items():
            meta = self._meta(item, files["label" if key == "label" else "t2w"])
            item[key] = placed(value.to(torch.float32 if key == "image" else torch.uint8), affine, meta)
        dropped = {*MODALITIES, *OPTIONAL, "zones", *map(map_key, MODALITIES)} - {"gland"}
        return {key: value for key, value in item.items() if key not in dropped}


def _recentred(image: MetaTensor, gland: MetaTensor) -> MetaTensor:
    """Move a map so that the centre of its gland becomes the centre of another gland."""
    centres = []
    for volume in (image, gland):
        found = (volume.as_tensor()[0] != 0).nonzero().double()
        middle = (found.min(0).values + found.max(0).values) / 2 if len(found) else torch.zeros(3).double()
        centres.append(volume.affine.double()[:3, :3] @ middle + volume.affine.double()[:3, 3])
    affine = image.affine.double().clone()
    affine[:3, 3] += centres[1] - centres[0]
    return MetaTensor(image.as_tensor(), affine=affine, meta=dict(image.meta))
