"""Clicks of a reader as channels of the image, and random clicks from a label for training."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from monai.transforms import Randomizable, Transform
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from monai_ext.errors import DataError

__all__ = ["ClickChannels", "Encoding", "RandClicksd", "read_clicks"]

Encoding = Literal["balls", "gaussian"]
NAMES = ("tumor", "background")
HOTTEST = 0.01  # share of the voxels outside of lesions that background clicks fall on
Points = Mapping[str, NDArray[np.float64]]


def read_clicks(path: str | Path | None, case: object = None) -> dict[str, NDArray[np.float64]]:
    """Clicks of one case in the form of the autoPET interactive challenge.

    ``{"version": ..., "type": "Multiple points", "points": [{"point": [x, y, z], "name": "tumor"}, ...]}`` with voxel
    indices of the PET and the names ``tumor`` and ``background``.

    Args:
        path: path of the JSON file; None for no click.
        case: id of the case, for messages.

    Returns:
        ``tumor`` and ``background``, float64 ``[clicks, 3]`` each.

    Raises:
        DataError: the file cannot be read, a name is unknown, or a point is not three numbers.
    """
    found: dict[str, list[list[float]]] = {name: [] for name in NAMES}
    if path is not None:
        form = '{"points": [{"point": [x, y, z], "name": "tumor" or "background"}]}'
        try:
            for click in json.loads(Path(path).read_text(encoding="utf-8"))["points"]:
                x, y, z = (float(value) for value in click["point"])
                found[click["name"]].append([x, y, z])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"the clicks cannot be read: {error!r}", f"The form is {form}.", case, path) from error
    return {name: np.array(points, dtype=np.float64).reshape(-1, 3) for name, points in found.items()}


def stamp(encoding: Encoding, radius: float, sigma: float) -> NDArray[np.float32]:
    """Values of one click: a cube with 1 at the click in its middle."""
    reach = int(np.ceil(radius if encoding == "balls" else 3 * sigma)) + 1
    axes = np.arange(-reach, reach + 1)
    squared = sum(axis.astype(float) ** 2 for axis in np.meshgrid(axes, axes, axes, indexing="ij"))
    if encoding == "gaussian":
        return np.exp(-squared / (2 * sigma**2)).astype(np.float32)
    distance = ndimage.distance_transform_edt(squared <= radius**2)
    return (distance / distance.max()).astype(np.float32)


class ClickChannels:
    """Draw clicks into two channels, lesion and background, with values in [0, 1]; overlapping clicks do not add up.

    Args:
        encoding: ``"balls"``: the Euclidean distance to the surface of a ball of ``radius`` voxels, scaled to 1 in its
            middle; ``"gaussian"``: of ``sigma`` voxels, 1 in its middle.
        radius: radius of a click, see above.
        sigma: standard deviation of a click, see above.

    Raises:
        ValueError: when the encoding is unknown.
    """

    def __init__(self, encoding: Encoding = "balls", radius: float = 2.0, sigma: float = 3.0) -> None:
        if encoding not in get_args(Encoding):
            raise ValueError(f"clicks {encoding!r} is not one of {get_args(Encoding)}")
        self.stamp = stamp(encoding, radius, sigma)

    def __call__(self, points: Points, to_grid: NDArray[np.float64], shape: Sequence[int]) -> Tensor:
        """Draw the clicks.

        Args:
            points: ``tumor`` and ``background``, ``[clicks, 3]`` voxel indices.
            to_grid: ``[4, 4]``, from those voxels to the voxels of the result.
            shape: voxels of the result.

        Returns:
            float32 ``[2, *shape]``.
        """
        maps = np.zeros((2, *shape), dtype=np.float32)
        reach = len(self.stamp) // 2
        for channel, name in zip(maps, NAMES):
            for point in points[name]:
                centre = np.rint(to_grid[:3, :3] @ point + to_grid[:3, 3]).astype(int)
                low, high = np.maximum(centre - reach, 0), np.minimum(centre + reach + 1, shape)
                if (low >= high).any():
                    continue  # far outside
                place = tuple(slice(a, b) for a, b in zip(low, high))
                part = tuple(slice(a, b) for a, b in zip(low - centre + reach, high - centre + reach))
                channel[place] = np.maximum(channel[place], self.stamp[part])
        return torch.from_numpy(maps)


class RandClicksd(Randomizable, Transform):
    """Draw the clicks that a reader might make on a crop, and write them into its two click channels.

    Each of the two numbers of clicks is uniform from 0 to ``max_clicks``. A lesion click falls on a uniformly drawn
    lesion (a component of 18-connectivity), on a voxel drawn in proportion to its depth. A background click falls
    outside all lesions on one of the voxels with the highest uptake, where false positives are likely.

    Args:
        encoding: see :class:`ClickChannels`.
        max_clicks: largest number of clicks of each kind; the challenge gives up to 10.
        pet: channel of the PET.
        image: key of the image ``[C + 2, X, Y, Z]``, whose last two channels are written.
        label: key of the label ``[1, X, Y, Z]``.
    """

    def __init__(
        self,
        encoding: Encoding = "balls",
        max_clicks: int = 10,
        pet: int = 1,
        image: str = "image",
        label: str = "label",
    ) -> None:
        self.channels = ClickChannels(encoding)
        self.max_clicks, self.pet, self.image, self.label = max_clicks, pet, image, label

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Draw clicks for one crop."""
        image, lesion = data[self.image], np.asarray(data[self.label][0].cpu()) > 0
        numbers = self.R.randint(0, self.max_clicks + 1, size=2)
        uptake = np.asarray(image[self.pet].float().cpu())
        points = {"tumor": self.on_lesions(lesion, numbers[0]), "background": self.outside(lesion, uptake, numbers[1])}
        result = image.clone()
        result[-2:] = self.channels(points, np.eye(4), lesion.shape).to(result)
        return {**data, self.image: result}

    def on_lesions(self, lesion: NDArray[np.bool_], number: int) -> NDArray[np.float64]:
        """``[number, 3]`` voxels of lesions; none where there is no lesion."""
        components, count = ndimage.label(lesion, ndimage.generate_binary_structure(3, 2))
        if not count or not number:
            return np.zeros((0, 3))
        places = np.argwhere(components)
        depth = ndimage.distance_transform_edt(lesion)[tuple(places.T)]
        owner = components[tuple(places.T)]
        chosen = []
        for component in self.R.randint(1, count + 1, size=number):
            weight = np.where(owner == component, depth, 0)
            chosen.append(places[self.R.choice(len(places), p=weight / weight.sum())])
        return np.array(chosen, dtype=np.float64)

    def outside(self, lesion: NDArray[np.bool_], uptake: NDArray[Any], number: int) -> NDArray[np.float64]:
        """``[number, 3]`` voxels of high uptake outside of lesions."""
        places = np.argwhere(~lesion)
        if not len(places) or not number:
            return np.zeros((0, 3))
        hot = max(1, int(HOTTEST * len(places)))
        order = np.argpartition(uptake[~lesion], len(places) - hot)[-hot:]
        return places[self.R.choice(order, size=number)].astype(np.float64)
