"""Pictures of pseudo-healthy reconstructions and anomaly maps, in the layout of adU-Net's Fig. 4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from matplotlib.figure import Figure
from monai.data.utils import set_rnd
from torch import Tensor, nn
from torch.utils.data import Dataset

from monai_ext.data.io.whole_file import whole_file
from monai_ext.handlers.segmentation_preview import TRUTH, mark_right, radiological
from monai_ext.processes import is_first
from monai_ext.transforms import GENERATOR_SCALES

__all__ = ["AnomalyRow", "GeneratorPreview", "draw_anomalies"]


@dataclass(frozen=True)
class AnomalyRow:
    """One row: planes ``[X, Y]`` (RAS), NaN outside the gland; ``truth`` is bool, None if unknown."""

    title: str
    image: np.ndarray
    reconstruction: np.ndarray
    map: np.ndarray
    truth: np.ndarray | None


def draw_anomalies(rows: Sequence[AnomalyRow], path: str | Path) -> None:
    """Draw input | reconstruction | anomaly map | truth, one row per slice and modality.

    Input and reconstruction share one grey scale. Maps have a fixed colour scale for each modality, up to a quarter of
    the generator's range, so that patients and generators can be compared. A title ends with a line for the modality.

    Args:
        rows: rows of the picture, at least one.
        path: path of the PNG.
    """
    names = ["input", "pseudo-healthy", "anomaly map", "lesion"]
    figure = Figure(figsize=(2.2 * len(names), 2.2 * len(rows) + 0.5), layout="constrained", facecolor="white")
    axes = figure.subplots(len(rows), len(names), squeeze=False)

    def modality(row: AnomalyRow) -> str:
        return row.title.split("\n")[-1]

    for line, row in zip(axes, rows):
        low, high = np.nanpercentile(row.image, [0.5, 99.5]) if np.isfinite(row.image).any() else (0, 1)
        top, signed = GENERATOR_SCALES[modality(row)].width / 2, bool(np.nanmin(np.nan_to_num(row.map)) < 0)
        for axis in line:
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_facecolor("black")
        for axis, plane in zip(line, (row.image, row.reconstruction)):
            axis.imshow(radiological(plane), cmap="gray", vmin=low, vmax=high)
        colours, bottom = ("coolwarm", -top) if signed else ("inferno", 0.0)
        shown = line[2].imshow(radiological(row.map), cmap=colours, vmin=bottom, vmax=top)
        figure.colorbar(shown, ax=line[2], shrink=0.8)
        if row.truth is None:
            line[3].text(0.5, 0.5, "not known", color="white", ha="center", transform=line[3].transAxes, fontsize=8)
        else:
            line[3].imshow(radiological(row.truth.astype(float)), cmap="gray", vmin=0, vmax=1)
            if row.truth.any():
                for axis in (line[0], line[2]):
                    axis.contour(radiological(row.truth).astype(float), [0.5], colors=TRUTH, linewidths=1)
        line[0].set_ylabel(row.title, fontsize=8)
        mark_right(line[0])
    for axis, name in zip(axes[0], names):
        axis.set_title(name, fontsize=9)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=110)


class GeneratorPreview:
    """Draw a few slices of the training data when the training of a generator ends, those with a lesion first.

    It shows patients on whom the generator was trained; the anomaly-map phase draws other patients.

    Args:
        path: path of the PNG.
        network: the reconstruction model.
        dataset: data set of items like those of :class:`~monai_ext.data.DomainSliceDataset`.
        modality: name of the modality.
        num_slices: number of slices, one per row.
    """

    def __init__(self, path: str, network: nn.Module, dataset: Dataset, modality: str, num_slices: int = 4) -> None:
        self.path, self.network, self.dataset = path, network, dataset
        self.modality, self.num_slices = modality, num_slices

    def attach(self, engine: Engine) -> None:
        """Draw at the end of the run."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Draw now, in one process."""
        if not is_first():
            return
        data: Any = self.dataset
        set_rnd(data, 0)  # random flips, which a run that was resumed at its end has not drawn
        domain = data.index()[:, 2]
        chosen = [i for d in (1, 0) for i in np.flatnonzero(domain == d)]
        step = max(1, len(chosen) // self.num_slices)
        items = [data[int(i)] for i in chosen[::step][: self.num_slices]]
        device = next(self.network.parameters()).device
        images = torch.stack([torch.as_tensor(item["image"]) for item in items]).as_subclass(Tensor)
        made = self.network.reconstruct(images.to(device)).float().cpu()  # type: ignore[operator]
        rows = []
        for item, image, found in zip(items, images[:, 0].numpy(), made[:, 0].numpy()):
            gland = np.asarray(item["gland"])[0] > 0
            seen, made_of, map_ = (np.where(gland, plane, np.nan) for plane in (image, found, np.abs(image - found)))
            title = f"{item['id']}, slice {item['z'] + 1}\n{self.modality}"
            rows.append(AnomalyRow(title, seen, made_of, map_, np.asarray(item["label"])[0] > 0))
        draw_anomalies(rows, self.path)
