"""From the class scores of a network to the lesion mask on the grid of the scan."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Transform
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from monai_ext.transforms.grid import GRID_AFFINE, GRID_SHAPE

__all__ = ["LesionMaskd", "interpolate_onto"]


def interpolate_onto(
    values: NDArray[Any], affine: NDArray[Any], grid_affine: NDArray[Any], shape: Sequence[int]
) -> NDArray[np.float32]:
    """Linear interpolation onto another grid, 0 outside; no coordinates are stored, so a large grid is no matter.

    Args:
        values: ``[X, Y, Z]``.
        affine: ``[4, 4]``, voxel to mm.
        grid_affine: ``[4, 4]`` of the grid to come to.
        shape: its voxels.

    Returns:
        ``[*shape]``.
    """
    matrix = np.linalg.solve(affine, grid_affine)
    linear = matrix[:3, :3]
    if np.allclose(linear, np.diag(np.diag(linear)), atol=1e-9):
        linear = np.diag(linear)  # a separable zoom, which is several times faster
    source = np.asarray(values, dtype=np.float32)
    return ndimage.affine_transform(
        source, linear, matrix[:3, 3], tuple(shape), output=np.float32, order=1, mode="grid-constant", cval=0.0
    )


class LesionMaskd(Transform):
    """Lesion probability and mask on the grid that :class:`RememberGridd` kept, the scan's own.

    The probability is interpolated before it is compared with the threshold, so that outlines are smooth. For
    decollated items. Memory: two volumes of the scan's grid beside the scores.

    Args:
        pred: key of the class scores (logits or log-probabilities) ``[2, X, Y, Z]``, which the mask replaces: uint8
            ``[1, *scan]`` in {0, 1}.
        probability: key that takes the probability, float32 ``[1, *scan]``.
        grid: key of the network's input; its affine places the scores.
        threshold: a probability above this is lesion.

    Raises:
        ValueError: the scores are not of two classes on the grid of ``grid``, or the item has no remembered grid.
    """

    def __init__(
        self,
        pred: str = "pred",
        probability: str = "lesion_probability",
        grid: str = "image",
        threshold: float = 0.5,
    ) -> None:
        self.pred, self.probability, self.grid, self.threshold = pred, probability, grid, threshold

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Postprocess one item."""
        item = dict(data)
        if GRID_AFFINE not in item or GRID_SHAPE not in item:
            raise ValueError(f"the item has no {GRID_AFFINE} and {GRID_SHAPE}: RememberGridd has to come first")
        scores, grid = item[self.pred], item[self.grid]
        if scores.shape != (2, *grid.shape[1:]):
            raise ValueError(f"{self.pred} has shape {tuple(scores.shape)}, {self.grid} {tuple(grid.shape)}")
        affine = torch.as_tensor(item[GRID_AFFINE]).cpu().double()
        shape = torch.as_tensor(item[GRID_SHAPE]).tolist()
        lesion = scores.as_subclass(Tensor).detach().float()
        lesion = (lesion[1] - lesion[0]).sigmoid().cpu().numpy()
        lesion = interpolate_onto(lesion, grid.affine.cpu().double().numpy(), affine.numpy(), shape)
        meta = {
            "original_affine": affine.clone(),
            "spatial_shape": np.array(shape),
            # MONAI names what it saves after this; DICOM folders are all called alike, ids are not.
            "filename_or_obj": f"{item['id']}.nii.gz" if "id" in item else grid.meta.get("filename_or_obj", ""),
        }
        found = torch.from_numpy(lesion)[None]
        item[self.probability] = MetaTensor(found, affine=affine.clone(), meta=dict(meta))
        item[self.pred] = MetaTensor((found > self.threshold).to(torch.uint8), affine=affine.clone(), meta=dict(meta))
        return item
