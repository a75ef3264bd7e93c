"""Turn a lesion probability into a detection map, a mask and a list of lesions."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Transform
from numpy.typing import NDArray
from torch import Tensor

from monai_ext.metrics.lesion_candidates import lesion_candidates
from monai_ext.transforms.resample import onto_grid

__all__ = ["DetectLesionsd"]

ZONES = {"PZ": 1, "TZ": 2}


class DetectLesionsd(Transform):
    """Add ``detection``, ``pred``, ``lesions`` and ``case_score`` to an item with a lesion probability.

    ``detection`` fp32 ``[1, X, Y, Z]`` is the map of :func:`lesion_candidates`, as picai_eval scores it; ``pred`` uint8
    of the same shape is 1 in the candidates of at least ``min_confidence`` and ``min_ml``; ``lesions`` lists every
    candidate with its confidence, volume, voxels, centre in mm (RAS) and the slice of its highest probability, counted
    from 1 in the order of the file; ``case_score`` is the highest confidence, 0 without a candidate.

    Where the item has a ``gland`` mask, on any grid, a candidate also has ``in_gland`` (share of its volume),
    ``outside_gland`` (less than half of it lies in the gland: read it with suspicion), and ``zone``, PZ or TZ, where
    most of that share lies, if the mask tells them apart (1 = PZ, 2 = TZ).

    Args:
        key: key of the probability ``[1, X, Y, Z]``, which has an affine.
        min_confidence: lowest confidence of a candidate that enters the mask.
        max_candidates: see :func:`lesion_candidates`.
        min_voxels: see :func:`lesion_candidates`.
        min_ml: volume of the smallest candidate that enters the mask, in ml.
        largest: only the largest candidate enters the mask.
    """

    def __init__(
        self,
        key: str = "lesion_probability",
        min_confidence: float = 0.5,
        max_candidates: int = 5,
        min_voxels: int = 11,
        min_ml: float = 0.0,
        largest: bool = False,
    ) -> None:
        self.key, self.min_confidence = key, min_confidence
        self.max_candidates, self.min_voxels = max_candidates, min_voxels
        self.min_ml, self.largest = min_ml, largest

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Detect the lesions of one item."""
        item = dict(data)
        probability = item[self.key]
        affine = probability.affine.cpu().double().numpy()
        spacing = np.linalg.norm(affine[:3, :3], axis=0).tolist()
        detection, indices, found = lesion_candidates(
            probability[0], spacing, max_candidates=self.max_candidates, min_voxels=self.min_voxels
        )
        sure = [one for one in found if one.confidence >= self.min_confidence and one.volume >= 1000 * self.min_ml]
        if self.largest:
            sure = sorted(sure, key=lambda lesion: -lesion.volume)[:1]
        shown = [lesion.index for lesion in sure]
        for key, values in (
            ("detection", detection.astype(np.float32)),
            ("pred", np.isin(indices, shown).astype(np.uint8)),
        ):
            item[key] = MetaTensor(
                torch.from_numpy(values)[None], affine=probability.affine.clone(), meta=dict(probability.meta)
            )
        gland = None
        if "gland" in item:
            mask = MetaTensor(torch.as_tensor(item["gland"]).float(), affine=item["gland"].affine)
            gland = onto_grid(mask, probability.affine, probability.shape[1:], "nearest").as_tensor()[0].numpy()
        item["lesions"] = [
            {
                "index": lesion.index,
                "confidence": round(lesion.confidence, 4),
                "volume_ml": round(lesion.volume / 1000, 3),
                "voxels": lesion.num_voxels,
                "center_mm": [round(float(mm), 2) for mm in (affine @ [*lesion.center, 1.0])[:3]],
                "slice": _peak(probability[0], indices == lesion.index)[2] + 1,
                "in_mask": lesion.index in shown,
                **({} if gland is None else _place(gland, indices == lesion.index)),
            }
            for lesion in found
        ]
        item["case_score"] = round(max((lesion.confidence for lesion in found), default=0.0), 4)
        return item


def _peak(probability: Tensor, where: NDArray[np.bool_]) -> tuple[int, ...]:
    """Voxel of the highest probability in a candidate."""
    values = np.where(where, probability.cpu().numpy(), -1.0)
    return tuple(int(i) for i in np.unravel_index(values.argmax(), values.shape))


def _place(gland: NDArray[np.float32], where: NDArray[np.bool_]) -> dict[str, Any]:
    """Where a candidate lies in a gland mask on its grid."""
    inside = gland[where]
    share = float((inside > 0).mean())
    found: dict[str, Any] = {"in_gland": round(share, 3), "outside_gland": share < 0.5}
    if gland.max() > 1 and share > 0:
        found["zone"] = max(ZONES, key=lambda name: int((inside == ZONES[name]).sum()))
    return found
