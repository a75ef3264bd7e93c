"""Crop to the prostate, by a given gland mask or by a network that finds the gland."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.networks.nets import UNet
from monai.transforms import MapTransform, Resize, SpatialCrop
from monai.utils import ensure_tuple
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import get_worker_info

from monai_ext.errors import ConfigError, DataError
from monai_ext.networks.weights import load_weights
from monai_ext.transforms.prostate_crop import warn_of_frame

__all__ = ["CropToGlandd", "GlandPredictor", "centre_box", "gland_unet"]

CENTRE = 64.0  # mm: a prostate is 40 to 60 wide, and seldom in the very middle


def gland_unet() -> nn.Module:
    """The 3-D U-Net that finds the gland: MONAI's residual U-Net, T2W -> background and gland, 1.2 M parameters."""
    return UNet(3, 1, 2, channels=(16, 32, 64, 128), strides=(2, 2, 2), num_res_units=2, norm="instance")


def centre_box(image: Tensor) -> Tensor:
    """A box of :data:`CENTRE` mm in the middle of a scan, which stands for the gland: bool ``[1, X, Y, Z]``.

    The prostate is in the middle of a prostate MRI: PI-CAI's baseline crops so (128 x 128 x 60 mm). Without an affine a
    voxel is taken for 1 mm.
    """
    affine = image.affine.double() if isinstance(image, MetaTensor) else torch.eye(4).double()
    sizes, spacing = image.shape[1:], affine[:3, :3].norm(dim=0).tolist()
    wide = [min(size, max(1, round(CENTRE / mm))) for size, mm in zip(sizes, spacing)]
    box = torch.zeros(tuple(image.shape), dtype=torch.bool)
    box[(slice(None), *(slice((size - n) // 2, (size - n) // 2 + n) for size, n in zip(sizes, wide)))] = True
    return box


class GlandPredictor:
    """Find the gland on a T2W volume with a small 3-D network (prostate MAE, A.1).

    The weights are read at the first call, so a pipeline whose items all have gland masks does not need them.

    Args:
        weights: state dict of the network, optionally under ``"model"``.
        network: maps ``[1, 1, *size]`` to logits ``[1, 2, *size]`` (background, gland) or ``[1, 1, *size]``;
            :func:`gland_unet` if None.
        size: voxels to which the whole volume is resized for the network.
        device: device of the network. A process that a loader starts for the preprocessing of cases takes the
            processors: it cannot use the GPU of the process that it was forked from.
        otherwise: ``"centre"`` takes the middle of the scan for the gland (:func:`centre_box`), with a warning, where
            the weights are missing or the network finds nothing. None refuses such a case, and so does a mapping: an
            overlay for all phases may hold settings of the phase of this name.

    Raises:
        DataError: at the first call, when the weights are missing.
        CheckpointError: when the weights cannot be read or do not fit.
    """

    def __init__(
        self,
        weights: str | Path,
        network: nn.Module | None = None,
        size: Sequence[int] = (96, 96, 32),
        device: str | torch.device = "cpu",
        otherwise: Literal["centre"] | Mapping[str, Any] | None = None,
    ) -> None:
        if isinstance(otherwise, Mapping):
            otherwise = None
        if otherwise not in (None, "centre"):
            raise ConfigError(f"gland {otherwise!r} is not 'centre': there is no other place to look for the prostate")
        self.otherwise = otherwise
        self.network = gland_unet() if network is None else network
        self.weights, self.size, self.device = Path(weights), tuple(size), device
        self._ready = False

    @property
    def fingerprint(self) -> str:
        """Changes when the weights, the network or the size do."""
        content = self.weights.read_bytes() if self.weights.is_file() else b"none"
        made_of = (self.network, self.size, *([self.otherwise] if self.otherwise else ()))
        return hashlib.sha256(content + repr(made_of).encode()).hexdigest()[:16]

    def _prepare(self) -> None:
        if not self.weights.is_file():
            remedy = "Give a gland mask with every case, train the gland phase first, or take the middle of the scan: "
            remedy += "--gland centre."
            raise DataError("there are no weights of the gland network", remedy, file=self.weights)
        load_weights(self.network, self.weights)
        self.device = self.device if get_worker_info() is None else "cpu"
        self.network.to(self.device).eval()
        self._ready = True

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Tensor:
        """Normalized T2W ``[1, X, Y, Z]`` -> bool ``[1, X, Y, Z]``: the largest component that is gland."""
        if self.otherwise == "centre" and not self.weights.is_file():
            return self._centre(image, "no gland mask and no gland network")
        if not self._ready:
            self._prepare()
        plain = image.as_tensor() if isinstance(image, MetaTensor) else image
        volume = plain[None].float().to(self.device)
        logits = self.network(F.interpolate(volume, self.size, mode="trilinear"))
        gland = logits.softmax(1)[:, 1:] if logits.shape[1] > 1 else logits.sigmoid()
        mask = F.interpolate(gland, tuple(volume.shape[2:]), mode="trilinear")[0, 0].cpu().numpy() > 0.5
        components, count = ndimage.label(mask)
        if count > 1:
            mask = components == 1 + np.bincount(components.ravel())[1:].argmax()
        if count == 0 and self.otherwise == "centre":
            return self._centre(image, "the network found no gland")
        return torch.from_numpy(mask)[None]

    @staticmethod
    def _centre(image: Tensor, why: str) -> Tensor:
        warnings.warn(f"{why}: the middle {CENTRE:g} mm of the scan stand for the gland", stacklevel=1)
        return centre_box(image)


class CropToGlandd(MapTransform):
    """Crop in-plane to the gland and some context, keep all slices, and resize (prostate MAE, A.1).

    The box is the gland's bounding box over all slices, ``padding`` voxels wider on each side and clamped to the
    volume. The affine is updated, so a prediction can be put back in space. A label that reaches out of the box gives a
    warning with the lost share.

    Args:
        keys: keys of the images, resized with trilinear interpolation.
        labels: keys of the labels, resized with nearest neighbour; an item may lack them.
        gland: key of the mask, which is dropped afterwards. Every value above 0 is gland, so a mask of zones works too.
        padding: voxels added on each side of the box, in-plane.
        size: voxels of the result.
        network: network that finds the gland of an item without a mask, usually a :class:`GlandPredictor`. It maps the
            image of the first key to ``[1, X, Y, Z]``.

    Raises:
        DataError: the gland is empty, or there is neither a mask nor a network.
    """

    def __init__(
        self,
        keys: KeysCollection,
        labels: KeysCollection = (),
        gland: str = "gland",
        padding: int = 8,
        size: Sequence[int] = (88, 88, 64),
        network: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__(keys)
        self.labels = ensure_tuple(labels)
        self.gland, self.padding, self.size, self.network = gland, padding, tuple(size), network

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Crop ``self.keys`` and the labels of one item."""
        item = dict(data)
        crop = SpatialCrop(roi_slices=self._box(item))
        item.pop(self.gland, None)
        image, nearest = Resize(self.size, mode="trilinear"), Resize(self.size, mode="nearest-exact")
        for key in self.keys:
            item[key] = image(crop(item[key]))
        for key in self.labels:
            if key not in item:
                continue
            label = crop(item[key])
            before, after = (item[key] > 0).sum().item(), (label > 0).sum().item()
            if after < before:
                lost = (
                    f"{(before - after) / before:.1%} of {key} ({before - after} voxels) lies outside the gland's box"
                )
                warnings.warn(f"case {item.get('id')}: {lost} and is lost", stacklevel=2)
            item[key] = nearest(label).to(label.dtype)
        return item

    def _box(self, item: Mapping[Hashable, Any]) -> list[slice]:
        case = item.get("id")
        remedy = "Give a gland mask with the case, or train the gland phase (run gland) and name its weights."
        if self.gland in item:
            gland, file = item[self.gland], item[self.gland].meta.get("filename_or_obj")
        elif self.network is not None:
            gland, file = self.network(item[self.keys[0]]), None
        else:
            raise DataError("there is no gland mask, and no network to find the gland", remedy, case)
        inside = torch.as_tensor(gland)[0] > 0
        if not inside.any():
            by = "mask is empty" if self.gland in item else "network found no gland"
            raise DataError(f"the gland {by}", "Check the mask, or the T2W image.", case, file)
        warn_of_frame(inside, case, file)
        box = []
        for axis, other in ((0, 1), (1, 0)):
            hit = inside.any(-1).any(other).nonzero()
            box.append(
                slice(max(int(hit.min()) - self.padding, 0), min(int(hit.max()) + 1 + self.padding, inside.shape[axis]))
            )
        return [*box, slice(0, inside.shape[2])]
