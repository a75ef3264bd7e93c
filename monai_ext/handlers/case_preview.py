"""Base of the pictures of segmented cases: one PNG per case, up to a number of cases, on the network's grid."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.engines.utils import IterationEvents
from torch import Tensor

__all__ = ["CasePreview"]


class CasePreview(ABC):
    """Write ``<folder>/<id>.png`` of each case.

    Args:
        folder: takes the pictures.
        max_cases: stop drawing after so many cases.
    """

    def __init__(self, folder: str, max_cases: int = 20) -> None:
        self.folder, self.max_cases = Path(folder), max_cases
        self.drawn = 0

    def attach(self, engine: Engine) -> None:
        """Draw each case before the postprocessing, which moves the prediction to another grid."""
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Draw the cases of a batch."""
        state: Any = engine.state
        if getattr(state, "rank", 0) != 0:
            return
        image, pred, label = state.output["image"], state.output["pred"], state.batch.get("label")
        names = state.batch.get("id", [f"case{self.drawn + i}" for i in range(len(image))])
        for i in range(min(len(names), self.max_cases - self.drawn)):
            self.drawn += 1
            truth = None if label is None else label[i, 0].cpu().numpy()
            path = self.folder / f"{names[i]}.png"
            self.draw(image[i].float().cpu().numpy(), pred[i], truth, spacing_of(image, i), path, str(names[i]))

    @abstractmethod
    def draw(
        self, image: np.ndarray, pred: Tensor, truth: np.ndarray | None, spacing: list[float], path: Path, title: str
    ) -> None:
        """Draw one case.

        Args:
            image: ``[C, X, Y, Z]``, RAS.
            pred: scores of all classes ``[K, X, Y, Z]``, or a label map ``[1, X, Y, Z]``.
            truth: label map ``[X, Y, Z]``, if known.
            spacing: mm per voxel along X, Y, Z.
            path: path of the PNG.
            title: title of the picture.
        """


def spacing_of(image: Any, index: int) -> list[float]:
    """Mm of a voxel along X, Y, Z of one image of a batch ``[B, C, X, Y, Z]``; 1 if unknown."""
    if not isinstance(image, MetaTensor):
        return [1.0, 1.0, 1.0]
    pixdim = np.asarray(image.pixdim).reshape(-1, 3)  # [3], or [B, 3] of a batch
    return [float(mm) for mm in pixdim[index if len(pixdim) > 1 else 0]]
