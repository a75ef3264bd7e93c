"""What a reconstruction of hidden patches explains beyond fills that need no network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from monai_ext.metrics.summary import Summary
from monai_ext.networks.blocks import mask_to_image, patch_moments, patchify
from monai_ext.processes import from_all

__all__ = ["ReconstructionSkill", "tissue_patches"]

AIR = 0.1  # of the range from the 0.5th to the 99.5th percentile of a channel
HELD = 0.25  # of a patch's voxels


def tissue_patches(image: Tensor, patch_size: Sequence[int]) -> Tensor:
    """Which patches hold tissue: a quarter of their voxels is, in some channel, above a tenth of its range.

    Padding and air are not: they are easy to reconstruct, and would hide how badly tissue is.

    Args:
        image: ``[B, C, *spatial]``.
        patch_size: voxels of a patch along each axis.

    Returns:
        bool ``[B, N]``.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import tissue_patches
        >>> image = torch.tensor([[0.0, 0.0, 0.0, 1.0, 2.0, 3.0]])[None, :, None]  # one row of six pixels
        >>> tissue_patches(image, (1, 2))
        tensor([[False,  True,  True]])
    """
    flat = image.as_subclass(Tensor).float().flatten(2)
    low, high = np.quantile(flat.cpu().numpy(), (0.005, 0.995), axis=2)
    floor = torch.from_numpy(low + AIR * (high - low)).to(flat)[..., None]
    above = (flat > floor).any(1, keepdim=True).view(len(image), 1, *image.shape[2:])
    return patchify(above.float(), patch_size).mean(-1) >= HELD


class ReconstructionSkill:
    """R2 of reconstructions over trivial fills: ``1 - SSE / SSE of the best fill`` (a skill score, Murphy 1988, eq. 4).

    Only hidden patches of tissue count, and only channels that were scanned (that are not 0 throughout a sample). With
    normalised targets a fill is normalised by the mean and deviation of the patch that it stands for. The fills:

    - ``visible_mean``: mean of the visible tissue of the channel;
    - ``nearest``: the nearest visible voxel;
    - ``position``: mean of the other samples at the same place, hidden or not, where all have one size;
    - ``patch_mean``: the hidden patch's own mean, which is the value 0 of normalised targets; only there.

    Args:
        patch_size: voxels of a patch along each axis.
        normalize, per_channel: of the targets, see :class:`~monai_ext.losses.MaskedPatchLoss`.
        channels: names of the channels; ``c0``, ``c1``, ... by default.

    Example:
        >>> import torch
        >>> from monai_ext.metrics import ReconstructionSkill
        >>> image = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> mask = torch.tensor([[True, False, False, True]]).expand(4, 4)
        >>> skill = ReconstructionSkill((4, 4), channels=["T2W"])
        >>> skill.update(image, mask, pred=image)
        >>> skill.compute()["r2"]
        1.0
    """

    def __init__(
        self,
        patch_size: Sequence[int],
        normalize: bool = False,
        per_channel: bool = False,
        channels: Sequence[str] = (),
    ) -> None:
        self.patch_size, self.normalize, self.per_channel = tuple(patch_size), normalize, per_channel
        self.channels = tuple(channels)
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self.samples = 0
        self.model: Any = 0.0  # sums of squared errors, [C]
        self.fills: dict[str, Tensor] = {}
        self._place: list[Any] | None = None  # sums by position: of the images, of 1, x and x^2 weighted where hidden

    @torch.no_grad()
    def update(self, image: Tensor, mask: Tensor, pred: Tensor) -> None:
        """Add samples.

        Args:
            image: ``[B, C, *spatial]``.
            mask: bool ``[B, N]``, True = hidden.
            pred: ``[B, N, P * C]`` patches, or an image; in the space of the targets.
        """
        image, pred = image.as_subclass(Tensor).float(), pred.as_subclass(Tensor).float()
        count = image.shape[1]
        patches = self._patches(image)
        center, scale = self._normalisation(patches)
        target = (patches - center) / scale
        tissue, scanned = tissue_patches(image, self.patch_size), (image != 0).flatten(2).any(2)
        counted = ((mask & tissue)[:, :, None, None] & scanned[:, None, None, :]).double()

        def error(values: Tensor) -> Tensor:
            return ((values - target).double().square() * counted).sum((0, 1, 2)).cpu()

        shown = pred if pred.shape[1:] != image.shape[1:] else self._patches(pred).flatten(2)
        visible = (~mask & tissue)[:, :, None, None].float()
        mean = (patches * visible).sum((1, 2), keepdim=True) / (visible.sum((1, 2), keepdim=True) * patches.shape[2])
        fills = {
            "visible_mean": error((mean.nan_to_num() - center) / scale),
            "nearest": error((self._patches(self._nearest(image, mask)) - center) / scale),
        }
        if self.normalize:
            fills["patch_mean"] = error(torch.zeros_like(target))
        places = self._places(patches.double(), counted / scale.double().square())
        self._add(len(image), error(shown.unflatten(-1, (-1, count))), fills, places)

    def _patches(self, image: Tensor) -> Tensor:
        """``[B, C, *spatial]`` -> ``[B, N, P, C]``."""
        return patchify(image, self.patch_size).unflatten(-1, (-1, image.shape[1]))

    def _normalisation(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each target, by which it is normalised; 0 and 1 where it is not."""
        if not self.normalize:
            return patches.new_zeros(1), patches.new_ones(1)
        return patch_moments(patches.flatten(2), patches.shape[3] if self.per_channel else 1)

    def _nearest(self, image: Tensor, mask: Tensor) -> Tensor:
        """Each hidden voxel as the nearest visible one; 0 where all are hidden."""
        hidden = mask_to_image(mask, image.shape[2:], self.patch_size)[:, 0].cpu().numpy()
        filled = torch.zeros_like(image)
        for sample, where in enumerate(hidden):
            if not where.all():
                index = ndimage.distance_transform_edt(where, return_distances=False, return_indices=True)
                flat = torch.from_numpy(np.ravel_multi_index(tuple(index), where.shape)).to(image.device)
                filled[sample] = image[sample].flatten(1)[:, flat]
        return filled

    def _places(self, patches: Tensor, weight: Tensor) -> list[Tensor]:
        weight = weight.expand_as(patches)
        return [term.sum(0).cpu() for term in (patches, weight, weight * patches, weight * patches.square())]

    def gather(self) -> None:
        """Take in what the other processes have seen, so that all compute the same."""
        parts = from_all([self.samples, self.model, self.fills, self._place])
        self.reset()
        for samples, model, fills, places in parts:
            if samples:
                self._add(samples, model, fills, places)

    def _add(self, samples: int, model: Tensor, fills: dict[str, Tensor], places: list[Tensor] | None) -> None:
        if self.samples == 0:
            self._place = places
        elif self._place is not None and places is not None and self._place[0].shape == places[0].shape:
            self._place = [before + now for before, now in zip(self._place, places)]
        else:
            self._place = None  # of several sizes
        self.samples += samples
        self.model = self.model + model
        self.fills = {name: value + self.fills.get(name, 0.0) for name, value in fills.items()}

    def _at_positions(self) -> Tensor | None:
        """Errors of the mean of the other samples: ``x - mean of the others = (x - mean of all) n / (n - 1)``."""
        if self._place is None or self.samples < 2:
            return None
        total, weight, first, second = self._place
        mean = total / self.samples
        errors = (second - 2 * mean * first + mean.square() * weight).sum((0, 1))
        return errors * (self.samples / (self.samples - 1)) ** 2

    def compute(self) -> dict[str, float]:
        """``r2`` over the best fill, ``r2_CHANNEL`` over the best one of each channel, and ``r2_over_FILL`` of all.

        NaN where nothing was hidden.
        """
        errors = dict(self.fills)
        if (position := self._at_positions()) is not None:
            errors["position"] = position
        if not errors:
            return {"r2": math.nan}
        sums = {name: value.sum().item() for name, value in errors.items()}
        total = self.model.sum().item()
        found = {"r2": _explained(total, min(sums.values()))}
        if len(self.model) > 1:
            best = torch.stack(list(errors.values())).amin(0)
            names = self.channels or tuple(f"c{number}" for number in range(len(best)))
            found |= {f"r2_{name}": _explained(a, b) for name, a, b in zip(names, self.model.tolist(), best.tolist())}
        return found | {f"r2_over_{name}": _explained(total, value) for name, value in sums.items()}

    def summary(self) -> dict[str, Summary]:
        """:meth:`compute` for a table; a ratio of sums has no interval here."""
        return {
            name: Summary(mean=value, ci_low=math.nan, ci_high=math.nan, n=self.samples, groups=self.samples)
            for name, value in self.compute().items()
        }


def _explained(error: float, trivial: float) -> float:
    return 1 - error / trivial if trivial > 0 else math.nan
