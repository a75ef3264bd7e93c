"""nnU-Net's augmentation of a whole batch at once, on the device that trains."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.transforms.utils import create_rotate, create_scale
from numpy.typing import NDArray
from torch import Generator, Tensor

from monai_ext.transforms.deformation import count_control_points, displacement_field, sampling_grid

__all__ = ["BatchAugmentation", "Draw"]

# Share of the items that a change meets, and the range of its strength; those of SegmentationAugmentation.
NOISE, BLUR, BRIGHTNESS, CONTRAST = 0.1, 0.2, 0.15, 0.15
LOW_RESOLUTION, INVERTED_GAMMA, GAMMA, DEFORM, FLIP = 0.25, 0.1, 0.3, 0.2, 0.5
NOISE_STD, SIGMAS, FACTORS, ZOOMS, GAMMAS = math.sqrt(0.1), (0.5, 1.0), (-0.25, 0.25), (0.5, 1.0), (0.7, 1.5)


@dataclass
class Draw:
    """What happens to the items of a batch: for each change the items that it meets, and its numbers for these.

    ``rows[change]`` is a list of items, ``values[change]`` an array whose first axis follows that list. A change that
    meets no item has neither.
    """

    rows: dict[str, list[int]] = field(default_factory=dict)
    values: dict[str, NDArray[Any]] = field(default_factory=dict)

    def part(self, intensity: bool) -> Draw:
        """The changes of the intensities alone, or those of the geometry."""
        rows = {n: rows for n, rows in self.rows.items() if (n in INTENSITIES or n == "low_resolution") == intensity}
        return Draw(rows, {n: self.values[n] for n in rows})


def check_geometry(scale: tuple[float, float], flips: Sequence[int], spatial_dims: int) -> None:
    """Refuse a zoom that is no interval round 1, and axes that an item has not.

    Raises:
        ValueError: says which.
    """
    if not 0 < scale[0] <= 1 <= scale[1]:
        raise ValueError(f"scale must be an interval round 1, got {scale}")
    if spatial_dims not in (2, 3) or any(axis not in range(spatial_dims) for axis in flips):
        raise ValueError(f"2 or 3 axes are expected, and flips among them, got {spatial_dims} and {list(flips)}")


class BatchAugmentation:
    """The changes of :class:`SegmentationAugmentation`, in its order, for a batch that lies on its device.

    Which item is changed, and how much, is drawn on the host from numbers that name the step (seed, rank, iteration),
    so a resumed run draws the same again. The host sends these few numbers ahead and waits for nothing. A change works
    on the items that it meets and on no other; what is not drawn is neither resampled nor copied. Given the same
    numbers, images equal those of MONAI's transforms to 1e-3 and labels are the same but for ties on a boundary
    (``tests/transforms/test_batch_augmentation.py``).

    Args:
        size: voxels of the result along each axis; None keeps the size of the batch. A larger batch gives rotation and
            scaling something to show beyond the result's border.
        rotation: largest angle in degrees; 0 for none.
        scale: smallest and largest zoom; (1, 1) for none.
        flips: axes to mirror along.
        intensity: factor of the shares of items whose intensities are changed; 0 changes only the geometry.
        outside: values of the image outside the crop: ``"zeros"``, or ``"border"``.
        spatial_dims: 3 for crops, 2 for slices.
        deform: deform a fifth of the items by splines with amplitudes in this range of voxels, see
            :class:`RandDeformd`; None for none.
        shift: largest shift along each axis, as a share of the batch's size; 0 for none. Crops are drawn at random
            places and need none. Where an item is the whole of a slice or of a volume, a network that sees few
            patients learns by heart at which places they have their lesions, unless these move.
        moved: share of the items that are rotated, scaled or shifted; by default nnU-Net's, the share that gets at
            least one of the changes asked for when each has a probability of a fifth.

    Raises:
        ValueError: when ``scale`` is not an interval around 1, an axis of ``flips`` is not one of the item's, ``shift``
            is negative, or ``moved`` or ``intensity`` is no share.

    Example:
        >>> import torch
        >>> from monai_ext.transforms import BatchAugmentation
        >>> augment = BatchAugmentation(size=(8, 8, 8))
        >>> image, label = torch.rand(2, 1, 10, 10, 10), torch.zeros(2, 1, 10, 10, 10, dtype=torch.uint8)
        >>> image, label = augment(image, label, numbers=(0, 0, 1), generator=torch.Generator().manual_seed(0))
        >>> image.shape, label.shape, label.dtype
        (torch.Size([2, 1, 8, 8, 8]), torch.Size([2, 1, 8, 8, 8]), torch.uint8)
    """

    def __init__(
        self,
        size: Sequence[int] | None = None,
        rotation: float = 30.0,
        scale: tuple[float, float] = (0.7, 1.4),
        flips: Sequence[int] = (0, 1, 2),
        intensity: float = 1.0,
        outside: str = "zeros",
        spatial_dims: int = 3,
        deform: tuple[float, float] | None = None,
        shift: float = 0.0,
        moved: float | None = None,
    ) -> None:
        check_geometry(scale, flips, spatial_dims)
        if shift < 0 or not 0 <= (0 if moved is None else moved) <= 1 or not 0 <= intensity <= 1:
            raise ValueError(
                f"shift is at least 0, moved and intensity are shares, got {shift}, {moved} and {intensity}"
            )
        self.size = None if size is None else tuple(size)
        self.rotation, self.scale, self.flips = rotation, scale, tuple(flips)
        self.intensity, self.outside, self.dims, self.deform = intensity, outside, spatial_dims, deform
        self.shift = shift
        self.moved = 1 - 0.8 ** ((rotation > 0) + (scale[0] < scale[1]) + (shift > 0)) if moved is None else moved

    def __call__(
        self, image: Tensor, label: Tensor | None, numbers: Sequence[int], generator: Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Augment a batch.

        Args:
            image: ``[B, C, *spatial]``.
            label: ``[B, 1, *spatial]``, or None.
            numbers: name the step, for example (seed, rank, iteration).
            generator: source of the noise, on the device of the image.

        Returns:
            image in fp32 and label, ``[B, C or 1, *size]``.
        """
        with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
            drawn = self.draw(numbers, image.shape)
            return self.apply(drawn, image.float(), label, generator)

    def views(self, image: Tensor, numbers: Sequence[int], generator: Generator) -> tuple[Tensor, Tensor]:
        """Two views of a batch, voxel by voxel in the same place: one moved, one with changed intensities too.

        Together they do what :meth:`__call__` does, but mirror before they change intensities. Arguments as there.

        Returns:
            Two images ``[B, C, *size]`` in fp32.
        """
        with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
            drawn = self.draw(numbers, image.shape)
            moved, _ = self.apply(drawn.part(intensity=False), image.float(), None, generator)
            return moved, self.apply(drawn.part(intensity=True), moved, None, generator)[0]

    def draw(self, numbers: Sequence[int], shape: Sequence[int]) -> Draw:
        """Draw what happens to the items of a batch of ``shape`` ``[B, C, *spatial]``."""
        rng, found = np.random.default_rng(list(numbers)), Draw()
        count, channels = shape[:2]
        spatial = self.size or tuple(shape[2:])

        def change(name: str, share: float, value: Callable[[], Any]) -> None:
            rows = np.flatnonzero(rng.random(count) < share).tolist()
            if rows:
                found.rows[name], found.values[name] = rows, np.stack([np.asarray(value()) for _ in rows])

        change("affine", self.moved, lambda: self._matrix(rng, shape[2:]))
        if self.deform is not None:
            points = [count_control_points(n) for n in spatial]
            amplitude = self.deform
            change("deform", DEFORM, lambda: rng.normal(0, rng.uniform(*amplitude), (self.dims, *points)))
        part = self.intensity
        change("noise", part * NOISE, lambda: rng.uniform(0, NOISE_STD))
        change("blur", part * BLUR, lambda: rng.uniform(*SIGMAS, self.dims))
        change("brightness", part * BRIGHTNESS, lambda: 1 + rng.uniform(*FACTORS, channels))
        change("contrast", part * CONTRAST, lambda: 1 + rng.uniform(*FACTORS))
        change("low_resolution", part * LOW_RESOLUTION, lambda: rng.uniform(*ZOOMS))
        change("inverted_gamma", part * INVERTED_GAMMA, lambda: rng.uniform(*GAMMAS))
        change("gamma", part * GAMMA, lambda: rng.uniform(*GAMMAS))
        for axis in self.flips:
            change(f"flip{axis}", FLIP, lambda: 0)
        return found

    def apply(
        self, drawn: Draw, image: Tensor, label: Tensor | None, generator: Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Do what was drawn to a batch in fp32."""
        volumes = self._move(drawn, {"image": image} if label is None else {"image": image, "label": label})
        image = volumes["image"]
        for name, rows in drawn.rows.items():
            if name in INTENSITIES:
                part, values = _take(image, rows), drawn.values[name]
                _put(image, rows, INTENSITIES[name](part, send(values.reshape(len(rows), -1), part.device), generator))
            elif name == "low_resolution":  # sizes, which the host has to know
                _put(image, rows, [_low_resolution(image[row], float(z)) for row, z in zip(rows, drawn.values[name])])
            elif name.startswith("flip"):
                for volume in volumes.values():
                    _put(volume, rows, _take(volume, rows).flip(int(name[4:]) + 2))
        return image, volumes.get("label")

    def _matrix(self, rng: np.random.Generator, shape: Sequence[int]) -> NDArray[np.float64]:
        """Random rotation, zoom and shift, from places of the result to those of the crop, in voxels from its middle.

        ``[D, D + 1]``, the shift last.
        """
        matrix = np.eye(self.dims + 1)
        if self.rotation:
            largest = math.radians(self.rotation)
            angles = rng.uniform(-largest, largest, 3 if self.dims == 3 else 1).tolist()
            matrix = matrix @ create_rotate(self.dims, angles if self.dims == 3 else angles[0])
        if self.scale[0] < self.scale[1]:
            factors = rng.uniform(1 / self.scale[1], 1 / self.scale[0], self.dims).tolist()
            matrix = matrix @ create_scale(self.dims, factors)
        found = np.array(matrix, dtype=np.float64)[: self.dims]
        if self.shift:
            found[:, self.dims] = rng.uniform(-self.shift, self.shift, self.dims) * np.array(shape)
        return found

    def _move(self, drawn: Draw, volumes: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rotate, scale and deform the items that are drawn, and cut all to ``size``; new tensors."""
        image = volumes["image"]
        shape = tuple(image.shape[2:])
        size = self.size or shape
        rows, count = drawn.rows.get("affine", []), len(image)
        if any((n - m) % 2 for n, m in zip(shape, size)):  # the middle lies between voxels: all are resampled
            matrices = np.tile(np.eye(self.dims, self.dims + 1), (count, 1, 1))
            matrices[rows] = drawn.values.get("affine", matrices[:0])
            rows = list(range(count))
        else:
            matrices = drawn.values.get("affine", np.zeros((0, self.dims, self.dims + 1)))
        result = {key: _middle(volume, size).clone() for key, volume in volumes.items()}
        if rows:
            grid = self._affine_grid(matrices, shape, size, image.device)
            for key, volume in volumes.items():
                _put(result[key], rows, self._sample(_take(volume, rows), grid, key, False))
        if "deform" in drawn.rows:
            control = send(drawn.values["deform"].astype(np.float32), image.device)
            fields = displacement_field(control.flatten(0, 1), size).unflatten(0, control.shape[:2])
            grid = torch.cat([sampling_grid(one) for one in fields])
            rows = drawn.rows["deform"]
            for key in volumes:
                _put(result[key], rows, self._sample(_take(result[key], rows), grid, key, True))
        return result

    def _affine_grid(
        self, matrices: NDArray[np.float64], shape: Sequence[int], size: Sequence[int], device: torch.device
    ) -> Tensor:
        """Sampling places ``[R, *size, D]`` of matrices ``[R, D, D + 1]`` between voxels."""
        scaled = np.diag(2 / np.array(shape)) @ matrices @ np.diag([*(np.array(size) / 2), 1])
        theta = np.empty(scaled.shape, dtype=np.float32)
        theta[:, :, : self.dims] = scaled[:, ::-1, -2::-1]  # torch counts the axes from the last one
        theta[:, :, self.dims] = scaled[:, ::-1, -1]
        return F.affine_grid(send(theta, device), [len(matrices), 1, *size], align_corners=False)

    def _sample(self, volume: Tensor, grid: Tensor, key: str, corners: bool) -> Tensor:
        mode, around = ("bilinear", self.outside) if key == "image" else ("nearest", "zeros")
        return F.grid_sample(volume.float(), grid, mode, around, align_corners=corners).to(volume.dtype)


def send(values: NDArray[Any], device: torch.device) -> Tensor:
    """Numbers of the host as a tensor on the device, without waiting for it; floats in fp32."""
    found = torch.as_tensor(values, dtype=torch.float32 if values.dtype.kind == "f" else None)
    return found.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else found.to(device)


def _middle(volume: Tensor, size: Sequence[int]) -> Tensor:
    """The middle of a batch ``[B, C, *spatial]``, a view."""
    inside = (slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(volume.shape[2:], size))
    return volume[(slice(None), slice(None), *inside)]


def _take(volume: Tensor, rows: list[int]) -> Tensor:
    return volume if len(rows) == len(volume) else torch.stack([volume[row] for row in rows])


def _put(volume: Tensor, rows: list[int], values: Iterable[Tensor]) -> None:
    for row, value in zip(rows, values):
        volume[row] = value


def _wide(numbers: Tensor, x: Tensor) -> Tensor:
    """Numbers by item ``[R, 1 or C]`` beside images ``[R, C, *spatial]``."""
    return numbers.reshape(*numbers.shape, *(1,) * (x.ndim - 2))


def _noise(x: Tensor, std: Tensor, generator: Generator) -> Tensor:
    return torch.randn(x.shape, generator=generator, device=x.device).mul_(_wide(std, x)).add_(x)


def _blur(x: Tensor, sigma: Tensor, generator: Generator) -> Tensor:
    """Gaussian blur, 0 outside; each weight is the bell's area over its voxel, as MONAI has it."""
    reach = round(4 * SIGMAS[1])
    places = torch.arange(-reach, reach + 1, device=x.device)
    scale = math.sqrt(0.5) / sigma[..., None]  # [R, axes, 1]
    weights = 0.5 * (torch.erf(scale * (places + 0.5)) - torch.erf(scale * (places - 0.5)))
    for axis, weight in enumerate(weights.unbind(1)):
        length, dim = x.shape[axis + 2], axis + 2
        blurred = x * _wide(weight[:, reach, None], x)
        for shift in range(1, min(reach, length - 1) + 1):
            low, high = blurred.narrow(dim, 0, length - shift), blurred.narrow(dim, shift, length - shift)
            bell = _wide(weight[:, reach + shift, None], x)
            low.addcmul_(x.narrow(dim, shift, length - shift), bell)
            high.addcmul_(x.narrow(dim, 0, length - shift), bell)
        x = blurred
    return x


def _brightness(x: Tensor, factor: Tensor, generator: Generator) -> Tensor:
    return x * _wide(factor, x)


def _contrast(x: Tensor, factor: Tensor, generator: Generator) -> Tensor:
    """Stretch about the mean of an item, within its range."""
    flat = x.flatten(1)
    low, high = flat.aminmax(dim=1, keepdim=True)
    mean = flat.mean(1, keepdim=True)
    return torch.clamp((flat - mean).mul_(factor).add_(mean), low, high).view_as(x)


def _gamma(x: Tensor, gamma: Tensor, generator: Generator) -> Tensor:
    """A power of the intensities between an item's smallest and largest, with its mean and deviation kept."""
    flat = x.flatten(1)
    low, high = flat.aminmax(dim=1, keepdim=True)
    std, mean = torch.std_mean(flat, dim=1, keepdim=True)
    bent = ((flat - low) / (high - low + 1e-7)).pow_(gamma).mul_(high - low).add_(low)
    new_std, new_mean = torch.std_mean(bent, dim=1, keepdim=True)
    return bent.sub_(new_mean).mul_(std / (new_std + 1e-8)).add_(mean).view_as(x)


def _inverted_gamma(x: Tensor, gamma: Tensor, generator: Generator) -> Tensor:
    return _gamma(-x, gamma, generator).neg_()


def _low_resolution(x: Tensor, zoom: float) -> Tensor:
    """One item ``[C, *spatial]``, sampled on a coarser grid and interpolated back."""
    coarse = [max(1, round(n * zoom)) for n in x.shape[1:]]
    small = F.interpolate(x[None], coarse, mode="nearest")
    return F.interpolate(small, x.shape[1:], mode="trilinear" if x.ndim == 4 else "bilinear")[0]


#: Changes of intensities: images ``[R, C, *spatial]``, their numbers ``[R, n]``, source of noise -> images.
INTENSITIES: dict[str, Callable[[Tensor, Tensor, Generator], Tensor]] = {
    "noise": _noise,
    "blur": _blur,
    "brightness": _brightness,
    "contrast": _contrast,
    "inverted_gamma": _inverted_gamma,
    "gamma": _gamma,
}
