"""Report on a guided masker: pictures of its masks, and the labelled anatomy they hide compared with random masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from matplotlib.figure import Figure
from torch import Generator, Tensor, nn

from monai_ext.data.io.json_file import write_json
from monai_ext.data.io.whole_file import whole_file
from monai_ext.handlers.reconstruction_preview import reconstruction_panels
from monai_ext.handlers.segmentation_preview import TRUTH, mark_right, radiological
from monai_ext.losses import MaskedPatchLoss
from monai_ext.maskers import AnatoMasker
from monai_ext.metrics import MetricTable
from monai_ext.networks.blocks import mask_to_image, patchify, unpatchify
from monai_ext.networks.precision import autocast

__all__ = ["MaskReport", "anatomy_by_patch"]

MAX_BATCHES = 50  # to look at
NUM_PICTURES = 3  # crops to draw, those with the most anatomy
COLUMNS = ("slice", "teacher's loss", "random mask", "chosen mask", "reconstruction")


def anatomy_by_patch(label: Tensor, patch_size: Sequence[int]) -> Tensor:
    """Share of every patch that is labelled, ``[B, 1, *spatial]`` -> ``[B, N]``."""
    return patchify((label > 0).float(), patch_size).mean(-1)


class MaskReport:
    """At the end of a pretraining, write ``masks.png`` and ``masks.json``.

    The picture shows for some validation crops: an axial slice | the teacher's loss at the patches of a random mask |
    this random mask | the mask that the masker chooses at the end of its schedule | its reconstruction by the network,
    with the target's mean and deviation.

    The file gives, over all labelled validation crops, the share of the labelled voxels that the masks hide:

    - ``anatomy_hidden_by_random_masks``: about the mask ratio;
    - ``anatomy_hidden_by_chosen_masks``;
    - ``anatomy_in_hardest_patches`` and ``anatomy_in_all_patches``: the labelled share of the patches with the largest
      loss, as many as the masker keeps, and of all patches. Their ratio measures the value of the teacher's choice.

    Labels are used only in this report.

    Args:
        folder: folder of both files.
        data_loader: loader of validation crops with ``image``, ``label``, ``labelled``, ``id``.
        masker: masker to report on; its teacher is always used, even where the schedule has no patch for it yet.
        network: network that reconstructs the masked image.
        loss: loss that defines the patch size and the normalization of the targets.
        seed: seed of the random masks.
        amp: bfloat16 where the hardware has it.
    """

    def __init__(
        self,
        folder: str,
        data_loader: Iterable[Any],
        masker: AnatoMasker,
        network: nn.Module,
        loss: MaskedPatchLoss,
        seed: int = 0,
        amp: bool = True,
    ) -> None:
        self.folder, self.data_loader, self.masker, self.network = Path(folder), data_loader, masker, network
        self.loss = loss
        self.seed, self.amp = seed, amp

    def attach(self, engine: Engine) -> None:
        """Report at the end of the training."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Report now."""
        state: Any = engine.state
        if state.rank != 0:
            return
        generator = Generator(state.device).manual_seed(self.seed)
        crops: list[dict[str, Any]] = []
        self.network.eval()
        for number, batch in enumerate(self.data_loader):
            if number == MAX_BATCHES:
                break
            crops += self._crops(batch, state.device, generator)
        labelled = [crop for crop in crops if crop["anatomy"].sum() > 0]
        table = coverage_table(labelled)
        write_json({"crops": len(labelled), "metrics": table.as_dict()}, self.folder / "masks.json")
        if labelled:
            print(f"\nlabelled anatomy that is hidden\n{table}\n")
        crops.sort(key=lambda crop: -float(crop["anatomy"].sum()))
        if crops:
            draw_masks(crops[:NUM_PICTURES], self.folder / "masks.png")

    @torch.no_grad()
    def _crops(self, batch: dict[str, Any], device: torch.device, generator: Generator) -> list[dict[str, Any]]:
        """Masks, loss and anatomy of every crop of a batch, on the host; volumes as one axial slice."""
        image, label = batch["image"].to(device), batch["label"].to(device)
        patch = self.loss.patch_size
        label = label * torch.as_tensor(batch["labelled"]).to(device).view(-1, 1, 1, 1, 1)
        masker = self.masker
        count = anatomy_by_patch(label, patch).shape[1]
        hardest, _ = masker.counts(count, 1.0)
        random = masker.random_mask(len(image), count, device, generator)
        error = masker.rank(image, random)
        chosen = masker({"image": image}, 1.0, generator)
        with autocast(device, self.amp):
            pred = self.network(image, chosen).float()
        if pred.shape == image.shape:
            pred = patchify(pred, patch)
        reconstruction = list(reconstruction_panels(image, chosen, pred, self.loss).values())[-1]
        shown = error.masked_fill(~random, torch.nan)[..., None].expand(-1, -1, int(np.prod(patch)))
        volumes = {
            "slice": image[:, :1],
            "teacher's loss": unpatchify(shown, patch, image.shape[2:]),
            "random mask": image[:, :1].masked_fill(mask_to_image(random, image.shape[2:], patch), torch.nan),
            "chosen mask": image[:, :1].masked_fill(mask_to_image(chosen, image.shape[2:], patch), torch.nan),
            "reconstruction": reconstruction[:, :1],
            "label": label.float(),
        }
        anatomy = anatomy_by_patch(label, patch)
        found = []
        for i in range(len(image)):
            z = int((label[i] > 0).sum((0, 1, 2)).argmax()) if label[i].any() else image.shape[-1] // 2
            top = error[i].topk(max(hardest, 1), largest=masker.significance == "high").indices
            found.append(
                {
                    "id": batch["id"][i],
                    "planes": {name: volume[i, 0, :, :, z].float().cpu().numpy() for name, volume in volumes.items()},
                    "anatomy": anatomy[i].cpu(),
                    "random": random[i].cpu(),
                    "chosen": chosen[i].cpu(),
                    "hardest": top.cpu(),
                }
            )
        return found


def coverage_table(crops: Sequence[dict[str, Any]]) -> MetricTable:
    """The shares that :class:`MaskReport` explains; intervals over cases."""
    rows: dict[str, list[float]] = {
        "anatomy_hidden_by_random_masks": [float(c["anatomy"][c["random"]].sum() / c["anatomy"].sum()) for c in crops],
        "anatomy_hidden_by_chosen_masks": [float(c["anatomy"][c["chosen"]].sum() / c["anatomy"].sum()) for c in crops],
        "anatomy_in_hardest_patches": [float(c["anatomy"][c["hardest"]].mean()) for c in crops],
        "anatomy_in_all_patches": [float(c["anatomy"].mean()) for c in crops],
    }
    table = MetricTable()
    for name, values in rows.items():
        table.add(name, values, groups=[str(c["id"]) for c in crops])
    return table


def draw_masks(crops: Sequence[dict[str, Any]], path: Path) -> None:
    """One row per crop, one column per panel, the label's outline in green on the slice.

    Args:
        crops: dicts with ``id`` and ``planes``, which are ``[X, Y]`` (RAS) by name.
        path: path of the PNG.
    """
    figure = Figure(figsize=(2.2 * len(COLUMNS), 2.2 * len(crops) + 0.4), layout="constrained", facecolor="white")
    axes = figure.subplots(len(crops), len(COLUMNS), squeeze=False)
    for line, crop in zip(axes, crops):
        planes = crop["planes"]
        low, high = np.percentile(planes["slice"], [0.5, 99.5])
        for axis, name in zip(line, COLUMNS):
            loss = name == "teacher's loss"
            shown = planes[name][np.isfinite(planes[name])]
            limits = (shown.min(), shown.max()) if loss and len(shown) else (low, high)
            plane = radiological(planes[name])
            axis.imshow(plane, cmap="inferno" if loss else "gray", vmin=limits[0], vmax=limits[1])
            axis.set_facecolor("#33475b")
            axis.set_xticks([])
            axis.set_yticks([])
        if planes["label"].any():
            line[0].contour(radiological(planes["label"] > 0).astype(float), [0.5], colors=TRUTH, linewidths=0.8)
        line[0].set_ylabel(str(crop["id"]), fontsize=8)
        mark_right(line[0])
    for axis, name in zip(axes[0], COLUMNS):
        axis.set_title(name, fontsize=9)
    figure.suptitle("green: labelled anatomy (enters this picture only)", fontsize=8)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=110)
