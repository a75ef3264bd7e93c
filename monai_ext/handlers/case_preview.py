"""Base of the pictures of segmented cases: one PNG per case, on the scan's own grid."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from numpy.typing import NDArray

from monai_ext.data.io.image_header import num_axes
from monai_ext.data.io.volume import read_volume
from monai_ext.handlers.scan_view import ScanView, on_scan

__all__ = ["CasePreview", "ShownCase"]

Array = NDArray[Any]
MAX_CASES = 200


@dataclass(frozen=True)
class ShownCase:
    """What a picture shows, in RAS on the grid of the scan.

    Attributes:
        title: of the picture.
        view: the scan's grid, which numbers the slices.
        image: ``[C, X, Y, Z]``.
        pred: predicted classes ``[X, Y, Z]``.
        probability: of lesion ``[X, Y, Z]``, if it is known.
        truth: true classes ``[X, Y, Z]``, if they are known.
        seen: bool ``[X, Y, Z]``-wide box of what the network saw, as a slice along each axis.
    """

    title: str
    view: ScanView
    image: Array
    pred: Array
    probability: Array | None
    truth: Array | None
    seen: tuple[slice, slice, slice]


class CasePreview(ABC):
    """Write ``<folder>/<id>.png`` of each case, after its postprocessing.

    Args:
        folder: takes the pictures.
        max_cases: stop drawing after so many cases of a run of the engine.
        own_channel: channel of the image that is read again from the scan's file, whose pixels are finer than those
            that the network saw; None for none. A 4-D file is not read again.
    """

    def __init__(self, folder: str, max_cases: int = MAX_CASES, own_channel: int | None = 0) -> None:
        self.folder, self.max_cases, self.own_channel = Path(folder), max_cases, own_channel
        self.drawn = 0

    def attach(self, engine: Engine) -> None:
        """Draw each case when it is done."""
        engine.add_event_handler(Events.STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def _begin(self) -> None:
        """Count again from the first case: of a training's validations, the last one's pictures stay."""
        self.drawn = 0

    def __call__(self, engine: Engine) -> None:
        """Draw the cases of a decollated batch."""
        state: Any = engine.state
        if getattr(state, "rank", 0) != 0:
            return
        for batch, output in zip(state.batch, state.output):
            if self.drawn < self.max_cases:
                name = str(batch.get("id", f"case{self.drawn}"))
                self.drawn += 1
                self.draw(self.shown({**batch, **output}, name), self.folder / f"{name}.png")

    def shown(self, item: Mapping[Hashable, Any], title: str) -> ShownCase:
        """What is drawn of a decollated item."""
        image, view = item["image"], ScanView.of(item)
        pred, truth, probability = item["pred"], item.get("label"), item.get("lesion_probability")
        classes = pred[0] if len(pred) == 1 else pred.argmax(0)
        channels = [self.scan(item) if channel == self.own_channel else None for channel in range(len(image))]
        found = [on_scan(values, image, view) if own is None else view.ras(own) for values, own in zip(image, channels)]
        return ShownCase(
            title,
            view,
            np.stack(found),
            on_scan(classes, image, view, labels=True).astype(np.int64),
            None if probability is None else on_scan(probability[0], image, view),
            None if truth is None else on_scan(truth[0], image, view, labels=True).astype(np.int64),
            seen_part(image, view),
        )

    def scan(self, item: Mapping[Hashable, Any]) -> Array | None:
        """The scan's own voxels ``[X, Y, Z]`` as they are in its file; None where they cannot be told."""
        image, view = item["image"], ScanView.of(item)
        file = image.meta.get("filename_or_obj") if isinstance(image, MetaTensor) else None
        volume = self.read(Path(file)) if file and Path(file).exists() else None
        known = volume is not None and tuple(volume.shape[1:]) == view.shape
        return volume[0].as_subclass(torch.Tensor).numpy() if known else None  # type: ignore[index]

    def read(self, path: Path) -> MetaTensor | None:
        """The scan ``[1, X, Y, Z]`` of a file or a DICOM series; None for a file of several volumes."""
        return None if path.is_file() and num_axes(path) != 3 else read_volume(path)

    @abstractmethod
    def draw(self, case: ShownCase, path: Path) -> None:
        """Draw one case.

        Args:
            case: what is shown.
            path: path of the PNG.
        """


def seen_part(image: torch.Tensor, view: ScanView) -> tuple[slice, slice, slice]:
    """The box of the scan, in RAS, that the network's input ``[C, X, Y, Z]`` reaches."""
    if not isinstance(image, MetaTensor):
        return slice(None), slice(None), slice(None)
    corners = np.stack(np.meshgrid(*([-0.5, n - 0.5] for n in image.shape[1:]), indexing="ij"), -1).reshape(-1, 3)
    to_scan = np.linalg.solve(view.affine, image.affine.cpu().double().numpy())
    places = corners @ to_scan[:3, :3].T + to_scan[:3, 3]
    spans = []
    for low, high, count in zip(places.min(0), places.max(0), view.shape):
        spans.append((min(max(int(np.ceil(low)), 0), count - 1), max(min(int(np.floor(high)) + 1, count), 1)))
    found = [slice(0, 0)] * 3
    for (start, stop), (axis, way), count in zip(spans, view.orientation, view.shape):
        found[int(axis)] = slice(start, stop) if way > 0 else slice(count - stop, count - start)
    return found[0], found[1], found[2]
