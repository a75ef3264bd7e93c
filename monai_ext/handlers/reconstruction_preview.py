"""Pictures of a reconstruction: the input, its visible part, and the reconstruction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from matplotlib.figure import Figure
from torch import Tensor

from monai_ext.data.io.whole_file import whole_file
from monai_ext.handlers.segmentation_preview import TRUTH, mark_right, radiological
from monai_ext.losses import AMLPLoss, MaskedPatchLoss, MaskedVoxelLoss
from monai_ext.maskers import Clusters, PatchClustering
from monai_ext.networks.blocks import mask_to_image, patchify, unpatchify

__all__ = ["ReconstructionPreview", "reconstruction_panels"]

Loss = MaskedPatchLoss | AMLPLoss | MaskedVoxelLoss
OUTLINED = ("input", "visible", "foreground")  # panels on which lesions are outlined


def reconstruction_panels(
    image: Tensor,
    mask: Tensor,
    pred: Tensor,
    loss: MaskedPatchLoss | AMLPLoss | MaskedVoxelLoss,
    clusters: Clusters | None = None,
) -> dict[str, Tensor]:
    """The images of a preview, each ``[B, C, *spatial]``.

    With normalised targets a prediction has the pattern of a patch but not its brightness or contrast. It is shown
    unchanged, and once more with the mean and deviation of the *target*, which the network did not know; the captions
    say so.

    Args:
        image: ``[B, C, *spatial]``.
        mask: bool ``[B, N]``, True = masked.
        pred: ``[B, N, P * C]``, or an image.
        loss: knows the patch size and how targets are normalised.
        clusters: clusters of the patches, None to leave them out.
    """
    if pred.shape[1:] == image.shape[1:]:
        pred = patchify(pred, loss.patch_size)
    hidden = mask_to_image(mask, image.shape[2:], loss.patch_size)

    def as_image(patches: Tensor) -> Tensor:
        return unpatchify(patches.to(image.dtype), loss.patch_size, image.shape[2:])

    panels = {"input": image}
    if clusters is not None:
        panels["foreground cluster\n(background dim, air blank)"] = _show_clusters(image, clusters, loss.patch_size)
    panels["visible to the network"] = image.masked_fill(hidden, float("nan"))
    if not loss.normalize:
        return panels | {"reconstruction": torch.where(hidden, as_image(pred), image)}
    channels = image.shape[1] if getattr(loss, "per_channel", False) else 1
    patches = patchify(image, loss.patch_size).unflatten(-1, (-1, channels))
    var, mean = torch.var_mean(patches, dim=-2, keepdim=True)
    scaled = (pred.float().unflatten(-1, (-1, channels)) * var.sqrt() + mean).flatten(-2)
    return panels | {
        "prediction (normalised)": as_image(pred).masked_fill(~hidden, float("nan")),
        "with the target's\nmean and deviation": torch.where(hidden, as_image(scaled), image),
    }


def _show_clusters(image: Tensor, clusters: Clusters, patch_size: Sequence[int]) -> Tensor:
    """Foreground unchanged, background at a third of its contrast above the darkest value, air NaN."""
    foreground, valid = (mask_to_image(m, image.shape[2:], patch_size) for m in (clusters.foreground, clusters.valid))
    low = image.flatten(1).amin(1).view(-1, *(1,) * (image.ndim - 1))
    return torch.where(foreground, image, low + (image - low) / 3).masked_fill(~valid, float("nan"))


def coronal(volumes: dict[str, Tensor], label: Tensor | None) -> tuple[dict[str, Tensor], Tensor | None]:
    """The coronal plane of every volume ``[B, C, X, Y, Z]`` with the most label voxels, else the middle one."""
    image = next(iter(volumes.values()))
    amount = torch.zeros(len(image), image.shape[3]) if label is None else (label[:, 0] > 0).sum((1, 3)).cpu()
    best = torch.where(amount.any(1), amount.argmax(1), image.shape[3] // 2)
    planes = {name: torch.stack([v[:, :, int(y)] for v, y in zip(p, best)]) for name, p in volumes.items()}
    return planes, None if label is None else torch.stack([v[:, :, int(y)] for v, y in zip(label, best)])


class ReconstructionPreview:
    """Write ``reconstruction.png`` when a run ends: a few validation slices, those with a lesion first.

    For 3-D crops a coronal plane is drawn.

    Args:
        path: path of the PNG.
        evaluator: evaluator of the pretraining. The batch (``image``, ``mask``, ``pred``) with the most lesion is
            drawn, without lesions the last one.
        loss: see :func:`reconstruction_panels`.
        channels: names of the modalities, one row each.
        num_slices: number of slices to draw.
        clustering: clustering whose categories are shown.
        aspect: height over width of a pixel.
    """

    def __init__(
        self,
        path: str,
        evaluator: Engine,
        loss: Loss,
        channels: Sequence[str],
        num_slices: int = 2,
        clustering: PatchClustering | None = None,
        aspect: float = 1.0,
    ) -> None:
        self.aspect = aspect
        self.path, self.evaluator, self.loss = path, evaluator, loss
        self.channels, self.num_slices, self.clustering = tuple(channels), num_slices, clustering
        self._kept: tuple[Any, Any] | None = None  # output and batch with the most lesion
        self._lesion = 0

    def attach(self, engine: Engine) -> None:
        """Draw when the trainer is done, from the evaluator's last epoch."""
        self.evaluator.add_event_handler(Events.EPOCH_STARTED, self.forget)
        self.evaluator.add_event_handler(Events.ITERATION_COMPLETED, self.keep)
        engine.add_event_handler(Events.COMPLETED, self)

    def forget(self, engine: Engine) -> None:
        """Forget the batch of the previous validation."""
        self._kept, self._lesion = None, 0

    def keep(self, engine: Engine) -> None:
        """Keep this batch if it holds more lesion than the previous ones."""
        state: Any = engine.state
        label = state.batch.get("label")
        if label is not None and (amount := int((label > 0).sum())) > self._lesion:
            self._kept, self._lesion = (state.output, state.batch), amount

    def __call__(self, engine: Engine) -> None:
        """Draw now, if validation has run."""
        state: Any = self.evaluator.state
        if state.output is None or engine.state.rank != 0:  # type: ignore[attr-defined]
            return
        output, batch = self._kept or (state.output, state.batch)
        label = batch.get("label")
        amount = torch.zeros(len(output["image"])) if label is None else (label > 0).flatten(1).sum(1).cpu()
        chosen = amount.argsort(descending=True, stable=True)[: self.num_slices].to(output["image"].device)
        image, mask, pred = (output[name][chosen] for name in ("image", "mask", "pred"))
        clusters = None if self.clustering is None else self.clustering(image)
        panels = reconstruction_panels(image, mask, pred, self.loss, clusters)
        cases = batch.get("id")
        label = None if label is None else label[chosen.to(label.device)]
        if image.ndim == 5:
            panels, label = coronal(panels, label)
        draw_panels(
            {name: p.float().cpu().numpy() for name, p in panels.items()},
            self.channels,
            self.path,
            titles=None if cases is None else [str(cases[int(i)]) for i in chosen],
            outlines=None if label is None else label[:, 0].cpu().numpy() > 0,
            aspect=self.aspect,
            role="placed the mask, enters nothing else" if clusters is None else "used in this picture only",
            heading=_skill(getattr(state, "metrics", {})),
        )


def _skill(metrics: Mapping[str, Any]) -> str:
    """What the reconstruction explains beyond trivial fills, on all of the validation."""
    found = {name: value for name, value in metrics.items() if name == "r2" or name.startswith("r2_")}
    own = {name: value for name, value in found.items() if not name.startswith("r2_over_")}
    return "R2 over trivial fills: " + ", ".join(f"{n[3:] or 'all'} {v:.2f}" for n, v in own.items()) if own else ""


def draw_panels(
    panels: dict[str, np.ndarray],
    channels: Sequence[str],
    path: str,
    titles: Sequence[str] | None = None,
    outlines: np.ndarray | None = None,
    role: str = "",
    aspect: float = 1.0,
    heading: str = "",
) -> None:
    """Draw panels ``[B, C, X, Y]`` (RAS) as a grid: one row per slice and channel, one column per panel.

    Each row has the grey scale of its input, except for panels whose caption says that they are normalised.

    Args:
        panels: panels by caption, among them ``input``.
        channels: names of the modalities.
        path: path of the PNG.
        titles: titles of the slices.
        outlines: bool ``[B, X, Y]``, lesions to outline on the input, on its clusters and on its visible part.
        role: use of the lesions, in words.
        aspect: height over width of a pixel.
        heading: of the picture.
    """
    count = len(next(iter(panels.values())))
    rows = [(b, c) for b in range(count) for c in range(len(channels))]
    figure = Figure(figsize=(2.1 * len(panels), 2.1 * len(rows)), layout="constrained", facecolor="white")
    axes = figure.subplots(len(rows), len(panels), squeeze=False)
    for line, (b, c) in zip(axes, rows):
        low, high = np.nanpercentile(panels["input"][b, c], [0.5, 99.5])
        for axis, (name, values) in zip(line, panels.items()):
            limits = (-2.5, 2.5) if "normalised" in name else (low, high)
            axis.imshow(radiological(values[b, c]), cmap="gray", vmin=limits[0], vmax=limits[1], aspect=aspect)
            if outlines is not None and outlines[b].any() and name.startswith(OUTLINED):
                axis.contour(radiological(outlines[b]).astype(float), [0.5], colors=TRUTH, linewidths=1)
            axis.set_facecolor("#33475b")
            axis.set_xticks([])
            axis.set_yticks([])
        line[0].set_ylabel(f"{titles[b]}\n{channels[c]}" if titles and c == 0 else channels[c], fontsize=9)
        mark_right(line[0])
    for axis, name in zip(axes[0], panels):
        axis.set_title(name, fontsize=9)
    shown = outlines is not None and outlines.any()
    lesion = (f"green: lesion ({role})" if role else "green: lesion") if shown else ""
    if heading or lesion:
        figure.suptitle("\n".join(filter(None, (heading, lesion))), fontsize=9)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=110)
