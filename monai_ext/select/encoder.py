"""What the pretrained encoder of a bundle sees in a scan."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from ignite.engine import Engine
from monai.bundle import ConfigParser
from torch import Tensor, nn

from monai_ext.data.entries import Item
from monai_ext.data.io.image_files import file_print
from monai_ext.errors import CheckpointError, ConfigError
from monai_ext.handlers import WeightsLoader
from monai_ext.inferers import SliceBatchInferer
from monai_ext.inferers.sliding_window import window_starts
from monai_ext.networks import is_null, members_of
from monai_ext.networks.precision import autocast
from monai_ext.networks.published import is_named
from monai_ext.select.statistics import Described, box_of, shown_slice
from monai_ext.transforms.tissue import tissue_mask

__all__ = ["EncoderFeatures", "find_loader", "has_encoder"]

MAX_SLICES = 32  # of a volume, for a 2-D network
LEAST_TISSUE = 0.1  # of the slice with the most, below which a slice is left out


def find_loader(parser: ConfigParser) -> str | None:
    """Where a training's config loads its pretrained part: ``train#handlers#0``; None where it has none."""
    handlers = parser.get("train", {}).get("handlers", [])
    for place, handler in enumerate(handlers):
        if isinstance(handler, dict) and str(handler.get("_target_")).endswith("WeightsLoader"):
            return f"train#handlers#{place}"
    return None


def has_encoder(parser: ConfigParser) -> bool:
    """Whether the pretrained weights of a training are there."""
    place = find_loader(parser)
    path = None if place is None else parser.get_parsed_content(f"{place}#path")
    return not is_null(path) and (is_named(path) or os.path.isfile(str(path)))


class EncoderFeatures:
    """Mean and standard deviation of the encoder's deepest features over the tissue of an item.

    Network, weights and preprocessing are those that the bundle's training starts with. A 2-D encoder reads up to 32
    slices that show tissue, a 3-D one windows over the tissue's box; each position counts by the tissue that it covers.
    The label is not looked at.

    Args:
        parser: of the training's config.

    Raises:
        CheckpointError: the weights are not there, or do not fit.
        ConfigError: the bundle's training starts from no pretrained encoder.
    """

    def __init__(self, parser: ConfigParser) -> None:
        place = find_loader(parser)
        if place is None:
            raise ConfigError("this bundle's training starts from no pretrained encoder: give --by statistics")
        if not has_encoder(parser):
            path = parser.get_parsed_content(f"{place}#path")
            raise CheckpointError(
                f"{path}: there are no pretrained weights. Pretrain first, give --pretrained FILE, or --by statistics"
            )
        loader: WeightsLoader = parser.get_parsed_content(place)
        loader(Engine(lambda engine, batch: None))
        first = members_of(loader.network)[0]
        encoder = getattr(first, "encoder", None)
        if not isinstance(encoder, nn.Module):
            raise ConfigError(f"{type(first).__name__} has no encoder: give --by statistics")
        self.encoder = encoder.eval()
        self.path = str(loader.path)
        self.preprocessing = parser.get_parsed_content("preprocessing")
        self.device = torch.device(parser.get_parsed_content("device"))
        self.amp = bool(parser.get_parsed_content("amp"))
        inferer = parser.get_parsed_content("inferer")
        self.flat = isinstance(inferer, SliceBatchInferer)
        self.roi = () if self.flat else tuple(inferer.roi_size)
        self.pad_value = None if self.flat else inferer.pad_value
        self.network_def = str(parser.get("network_def"))

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the features beside the files."""
        weights = self.path if is_named(self.path) else file_print(self.path)
        settings = [self.preprocessing.fingerprint, self.network_def, self.roi, self.amp, MAX_SLICES, LEAST_TISSUE]
        return {"encoder": [weights, *map(str, settings)]}

    def __call__(self, item: Item) -> Described:
        """``encoder_mean`` and ``encoder_std`` ``[C]``, and ``slice``, see :func:`shown_slice`.

        Raises:
            DataError: the item cannot be used.
        """
        prepared = self.preprocessing({key: value for key, value in item.items() if key != "label"})
        volume = prepared["image"]
        image = volume.as_tensor().float()
        mask = tissue_mask(image[0])
        mean, std = self.pool(image, mask)
        found = {"encoder_mean": mean.numpy(), "encoder_std": std.numpy()}
        spacing = np.asarray(volume.pixdim, dtype=float)
        return found | shown_slice(image[0].numpy(), mask.numpy(), spacing)  # type: ignore[arg-type]

    @torch.no_grad()
    def pool(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation ``[C]`` of the deepest features of an image ``[c, X, Y, Z]`` over a mask."""
        total, first, second = 0.0, torch.zeros(1), torch.zeros(1)
        for windows, inside in self._slices(image, mask) if self.flat else self._windows(image, mask):
            with autocast(self.device, self.amp):
                features = self.deepest(windows.to(self.device)).float().cpu()
            pool: Any = F.adaptive_avg_pool2d if self.flat else F.adaptive_avg_pool3d
            weight = pool(inside.float()[:, None], features.shape[2:]).double()
            axes = [0, *range(2, features.ndim)]
            total += float(weight.sum())
            first = first + (weight * features).sum(axes)
            second = second + (weight * features.double() ** 2).sum(axes)
        mean = first / total
        return mean.float(), (second / total - mean**2).clamp_min(0).sqrt().float()

    def deepest(self, x: Tensor) -> Tensor:
        """``[B, c, *spatial]`` -> ``[B, C, *grid]``; tokens of a transformer are put back on their grid."""
        features = self.encoder(x)[-1]
        return features if features.ndim > 3 else features.transpose(1, 2).unflatten(2, self.encoder.grid)  # type: ignore[arg-type]

    def _slices(self, image: Tensor, mask: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of slices that show tissue ``[B, c, X, Y]``, evenly spread, with their masks ``[B, X, Y]``."""
        area = mask.sum((0, 1))
        shown = torch.nonzero(area >= LEAST_TISSUE * area.max())[:, 0]
        if len(shown) > MAX_SLICES:
            shown = shown[torch.linspace(0, len(shown) - 1, MAX_SLICES).round().long()]
        for part in shown.split(8):
            yield image[..., part].movedim(-1, 0), mask[..., part].movedim(-1, 0)

    def _windows(self, image: Tensor, mask: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Windows over the tissue's box ``[1, c, *roi]`` with their masks; the box is padded to a window at least."""
        box = box_of(mask.numpy())
        image, mask = image[(slice(None), *box)], mask[box]
        lacking = [max(0, roi - size) for roi, size in zip(self.roi, mask.shape)]
        padding = [n for lack in lacking[::-1] for n in (lack // 2, lack - lack // 2)]
        if self.pad_value is None:
            image = F.pad(image[None], padding, mode="replicate")[0]
        else:
            image = F.pad(image, padding, value=self.pad_value)
        mask = F.pad(mask, padding)
        starts = [window_starts(size, roi, 0.0) for size, roi in zip(mask.shape, self.roi)]
        for corner in product(*starts):
            part = tuple(slice(start, start + roi) for start, roi in zip(corner, self.roi))
            if mask[part].any():
                yield image[(slice(None), *part)][None], mask[part][None]
