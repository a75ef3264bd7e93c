"""Teach the domain head of a Fixed-Point GAN before its generator, and check it on held-out patients."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from ignite.engine import Engine, Events
from torch import Tensor, nn

from monai_ext.data import DomainSliceDataset
from monai_ext.data.entries import patient_of
from monai_ext.data.io.json_file import write_json
from monai_ext.metrics import voxel_auroc
from monai_ext.processes import equal_weights, from_first, is_first
from monai_ext.progress_bar import progress_bar
from monai_ext.sigterm import is_asked, stop
from monai_ext.transforms import SliceJitter

__all__ = ["DomainHeadTraining"]

logger = logging.getLogger(__name__)

ENOUGH = 0.75  # held-out AUROC, below which a generator learns to please rather than to heal
LABEL_SMOOTHING = 0.1


class Taught(Protocol):
    """A method that may have a domain head."""

    head: nn.Module | None


class DomainHeadTraining:
    """Train a domain head on a part of the patients and keep the weights that are best on the others.

    A head that knows its patients by heart has no loss left in training, and what it tells the generator about a new
    slice is noise. So it learns first, from jittered slices, and stops when the AUROC of diseased against healthy
    slices of *held-out* patients does not improve any more; then it is frozen. Attached to a trainer, this happens
    before the first iteration; a resumed run has the head in its checkpoint.

    Args:
        method: whose ``head`` is taught, a :class:`~monai_ext.networks.nets.DomainHead` on its device; where it is
            None, as in methods without one, nothing happens.
        dataset: slices of two domains.
        path: JSON file for what was found: the best held-out AUROC, its curve, and the held-out patients.
        held_out: share of the patients, as even among those with and without diseased slices as can be.
        steps: most iterations.
        interval: iterations between two checks.
        patience: checks without improvement after which it stops.
        batch_size: slices of a batch, half of each domain.
        lr: learning rate of AdamW.
        seed: of the draws.

    Attributes:
        details: what the file holds, for the report of the run.
    """

    def __init__(
        self,
        method: Taught,
        dataset: DomainSliceDataset,
        path: str,
        held_out: float = 1 / 3,
        steps: int = 1500,
        interval: int = 100,
        patience: int = 6,
        batch_size: int = 32,
        lr: float = 1e-3,
        seed: int = 0,
    ) -> None:
        self.wanted = method.head is not None
        self.head = nn.Identity() if method.head is None else method.head
        self.dataset, self.path = dataset, Path(path)
        self.held_out, self.steps, self.interval, self.patience = held_out, steps, interval, patience
        self.batch_size, self.lr, self.seed = batch_size, lr, seed
        self.jitter = SliceJitter()
        self.details: dict[str, Any] = {}

    def attach(self, engine: Engine) -> None:
        """Train before the first iteration of a run; one that went on reads what was found, before it reports."""
        if self.wanted:
            engine.add_event_handler(Events.ITERATION_STARTED(once=1), self)
            engine.add_event_handler(Events.COMPLETED, self._recall)

    def _recall(self) -> None:
        if not self.details and self.path.is_file():
            self.details.update(json.loads(self.path.read_text(encoding="utf-8")))

    def split(self) -> tuple[list[Tensor], Tensor]:
        """Indices of the slices to learn from, by domain, and of those held out."""
        index = self.dataset.index()
        patients = [patient_of(dict(item)) for item in self.dataset.data]
        groups: dict[bool, list[str]] = {True: [], False: []}
        diseased = {patients[case] for case, _, domain in index.tolist() if domain}
        for patient in sorted(set(patients), key=lambda p: hashlib.sha256(p.encode()).hexdigest()):
            groups[patient in diseased].append(patient)
        self.apart = sorted(p for group in groups.values() for p in group[: round(self.held_out * len(group))])
        apart = torch.tensor([patients[case] in self.apart for case in index[:, 0].tolist()])
        domain = torch.from_numpy(index[:, 2])
        return [((domain == d) & ~apart).nonzero()[:, 0] for d in (0, 1)], apart.nonzero()[:, 0]

    def _batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        items = [self.dataset[int(i)] for i in indices]
        device = next(self.head.parameters()).device
        image, gland = (torch.stack([torch.as_tensor(i[k]) for i in items]).to(device) for k in ("image", "gland"))
        domain = torch.tensor([int(item["domain"]) for item in items], device=device)
        return image.as_subclass(Tensor), gland.as_subclass(Tensor).bool(), domain

    @torch.no_grad()
    def auroc(self, indices: Tensor) -> float:
        """AUROC of diseased against healthy slices; NaN where there is only one kind."""
        if not len(indices):  # too few patients to hold one out
            return math.nan
        scores, domains = [], []
        for part in indices.split(64):
            image, _, domain = self._batch(part.tolist())
            logits = self.head(image).float()
            scores.append((logits[:, 1] - logits[:, 0]).cpu())
            domains.append(domain.cpu())
        return voxel_auroc(torch.cat(scores), torch.cat(domains) == 1)

    def __call__(self, engine: Engine | None = None) -> None:
        """Train, keep the best, freeze."""
        learn, apart = self.split()
        draws = torch.Generator().manual_seed(self.seed)
        device = next(self.head.parameters()).device
        jitter = torch.Generator(device).manual_seed(self.seed)
        self.head.requires_grad_(True)
        optimizer = torch.optim.AdamW(self.head.parameters(), lr=self.lr, weight_decay=0.01)
        curve: list[tuple[int, float]] = []
        best, kept = -math.inf, copy.deepcopy(self.head.state_dict())
        steps = progress_bar(range(1, self.steps + 1), "domain head", "it")
        for step in steps:
            if is_asked():  # minutes may pass before the trainer's own step ends
                stop()
            half = self.batch_size // 2
            drawn = [d[torch.randint(len(d), (half,), generator=draws)] for d in learn if len(d)]
            image, gland, domain = self._batch(torch.cat(drawn).tolist())
            with torch.no_grad():
                image, _ = self.jitter(image, gland, jitter)
            loss = F.cross_entropy(self.head(image), domain, label_smoothing=LABEL_SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % self.interval and step < self.steps:
                continue
            curve.append((step, self.auroc(apart)))
            steps.set_postfix({"held-out AUROC": f"{curve[-1][1]:.3f}"}, refresh=False)
            if not curve[-1][1] <= best:  # of a NaN, the latest
                best, kept = curve[-1][1], copy.deepcopy(self.head.state_dict())
            elif len(curve) - 1 - max(range(len(curve)), key=lambda i: curve[i][1]) >= self.patience:
                break
        steps.close()
        self.head.load_state_dict(kept)
        self.head.requires_grad_(False)
        equal_weights(self.head)  # each process has taught its own, from slices that it flipped for itself
        self._tell(best, curve)

    def _tell(self, best: float, curve: Sequence[tuple[int, float]]) -> None:
        known = not math.isnan(best)
        points = [[step, None if math.isnan(value) else round(value, 4)] for step, value in curve]
        found = {"held_out_auroc": best if known else None, "enough": known and best >= ENOUGH, "curve": points}
        self.details.update(from_first({**found, "held_out_patients": self.apart}))
        if is_first():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.details, self.path)
        text = f"domain head: AUROC {best:.3f} on the slices of {len(self.apart)} held-out patients"
        if known and best >= ENOUGH:
            logger.info(text)
        else:
            logger.warning(
                f"{text}, less than {ENOUGH}: its generator may change anything but lesions; more patients help"
            )
