"""Checkpoints that survive a killed process or a full disk, and from which a run resumes."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn

from monai_ext.errors import CheckpointError, TrainingError
from monai_ext.networks import check_can_write, read_checkpoint, save_atomically

__all__ = ["Checkpoints"]

logger = logging.getLogger(__name__)


class Checkpoints:
    """Save the state and the weights of a run, and resume it.

    ``last.pt`` in ``save_dir`` holds all that a resumed run needs (each object of ``objects``, epoch and iteration, the
    best metric so far); ``previous.pt`` is the checkpoint before it. ``weights`` is the network's plain state dict, of
    the best epoch if there is an evaluator, else of the end of the run. Rank 0 writes all files, atomically.

    Together with :class:`SeedEpochs` a resumed run ends at the weights of the uninterrupted one (on a CPU).

    Args:
        save_dir: folder of ``last.pt``.
        objects: objects with a ``state_dict``, by name: ``network`` (required), optimizer, scheduler, EMA, early
            stopping.
        weights: path of the weights for the next phase or for inference.
        evaluator: evaluator whose best key metric decides when ``weights`` is written.
        interval: number of epochs between two ``last.pt``; the end of a run is always saved.
        resume: True resumes from ``last.pt``, or from ``previous.pt`` if ``last.pt`` is damaged.
        weights_at_end: True writes ``weights`` at the end of the run, whatever the evaluator says, as for a
            pretraining.
    """

    def __init__(
        self,
        save_dir: str,
        objects: Mapping[str, Any],
        weights: str,
        evaluator: Engine | None = None,
        interval: int = 1,
        resume: bool = False,
        weights_at_end: bool = False,
    ) -> None:
        if "network" not in objects:
            raise ValueError(f"objects must hold the network, got {sorted(objects)}")
        self.last, self.previous = Path(save_dir) / "last.pt", Path(save_dir) / "previous.pt"
        self.objects, self.weights, self.evaluator = dict(objects), weights, evaluator
        self.interval, self.resume, self.weights_at_end = interval, resume, weights_at_end

    def attach(self, engine: Engine) -> None:
        """Resume at the start, save after epochs and at the end; raise now if the files cannot be written."""
        if getattr(engine.state, "rank", 0) == 0:
            for path in (self.last, self.weights):
                check_can_write(path)
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.epoch_completed)
        engine.add_event_handler(Events.COMPLETED, self.completed)

    def start(self, engine: Engine) -> None:
        """Restore the run if ``resume`` is set."""
        if not self.resume:
            return
        checkpoint = self._read()
        if checkpoint is None:
            logger.warning("nothing to resume in %s: the run starts from the beginning", self.last.parent)
            return
        missing = self.objects.keys() - checkpoint["objects"].keys()
        if missing:
            raise CheckpointError(f"{self.last}: holds no {', '.join(sorted(missing))}. It belongs to another config")
        for name, item in self.objects.items():
            try:
                _bare(item).load_state_dict(checkpoint["objects"][name])
            except (RuntimeError, ValueError, KeyError) as error:
                raise CheckpointError(
                    f"{self.last}: its {name} does not fit this config: {error}. Start without --resume"
                ) from error
        state: Any = engine.state
        state.epoch, state.iteration = checkpoint["epoch"], checkpoint["iteration"]
        if self.evaluator is not None:
            vars(self.evaluator.state).update(checkpoint["best"])
        if checkpoint["finished"] or state.epoch >= state.max_epochs:
            logger.warning("%s: this run is finished (epoch %d); nothing to resume", self.last, state.epoch)
            engine.terminate(skip_completed=True)  # nothing is computed or reported again
        else:
            logger.info("%s: going on after epoch %d of %d", self.last, state.epoch, state.max_epochs)

    def _read(self) -> dict[str, Any] | None:
        found = [path for path in (self.last, self.previous) if path.is_file()]
        for path in found:
            try:
                return read_checkpoint(path)
            except CheckpointError as error:
                logger.warning("%s; trying the one before", error)
        if found:
            raise CheckpointError(f"{self.last}: neither it nor the one before can be read. Start without --resume")
        return None

    def epoch_completed(self, engine: Engine) -> None:
        """Save the checkpoint and the best weights after an epoch."""
        state: Any = engine.state
        self._check_finite(state.epoch)
        validation: Any = getattr(self.evaluator, "state", None)
        if (
            validation is not None
            and not self.weights_at_end
            and validation.best_metric_epoch == state.epoch
            and state.rank == 0
        ):
            self._save_weights()
        if state.epoch % self.interval == 0 and state.epoch < state.max_epochs:
            self._save(engine, finished=False)

    def completed(self, engine: Engine) -> None:
        """Save the end of the run."""
        validation: Any = getattr(self.evaluator, "state", None)
        no_best = validation is None or validation.best_metric_epoch == -1 or math.isnan(validation.best_metric)
        if no_best and validation is not None and not self.weights_at_end:
            logger.warning(
                "validation gave no finite metric, so there is no best epoch; the weights of the last epoch are kept"
            )
        state: Any = engine.state
        self._check_finite(state.epoch)
        if state.rank == 0 and (self.weights_at_end or no_best):
            self._save_weights()
        self._save(engine, finished=True)

    def _check_finite(self, epoch: int) -> None:
        """Refuse to save weights that are not finite: a step can be infinite although its loss is finite.

        Raises:
            TrainingError: a weight is NaN or infinite.
        """
        values = _bare(self.objects["network"]).state_dict().values()
        if not all(torch.isfinite(value).all() for value in values if value.is_floating_point()):
            raise TrainingError(
                f"weights are not finite after epoch {epoch}. The last good checkpoint is kept; lower the learning rate"
            )

    def _save_weights(self) -> None:
        save_atomically(_bare(self.objects["network"]).state_dict(), self.weights)

    def _save(self, engine: Engine, finished: bool) -> None:
        state: Any = engine.state
        if state.rank != 0:
            return
        validation: Any = getattr(self.evaluator, "state", None)
        checkpoint = {
            "epoch": state.epoch,
            "iteration": state.iteration,
            "finished": finished,
            "best": {k: getattr(validation, k, -1) for k in ("best_metric", "best_metric_epoch")},
            "objects": {name: _bare(item).state_dict() for name, item in self.objects.items()},
        }
        save_atomically(checkpoint, self.last, self.previous)


def _bare(item: Any) -> Any:
    """The network inside the wrapper that spreads it over devices."""
    return item.module if isinstance(item, nn.parallel.DistributedDataParallel) else item
