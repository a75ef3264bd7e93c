"""Checkpoints that survive a killed process or a full disk, and from which a run resumes."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor, nn

from monai_ext.data.io.json_file import plain
from monai_ext.data.io.record import differences, read_record, record_file, some_of
from monai_ext.errors import CheckpointError, ConfigError, TrainingError
from monai_ext.handlers.reproducible import random_state, set_random_state
from monai_ext.networks import check_can_write, read_checkpoint, save_atomically
from monai_ext.processes import any_of_all, from_all, num_processes, process_rank, wait_for_all
from monai_ext.sigterm import finish_step, is_asked, stop

__all__ = ["Checkpoints"]

logger = logging.getLogger(__name__)


class Checkpoints:
    """Save the state and the weights of a run, and resume it.

    ``last.pt`` in ``save_dir`` holds all that a resumed run needs after a step: each object of ``objects``, epoch,
    iteration and random numbers, the best metric so far and its weights, and the run's record; ``previous.pt`` is the
    checkpoint before it. It is saved after the last step of an epoch, before the validation, and after any step where
    SIGTERM asks the run to end. ``weights`` is the network's plain state dict, of the best epoch if there is an
    evaluator, else of the end of the run. Rank 0 writes all files, atomically.

    A resumed run goes on at the next step, or with the validation that comes after the last step of an epoch. Together
    with :class:`SeedEpochs` it ends at the weights of the uninterrupted one (on a CPU).

    Args:
        save_dir: folder of ``last.pt``.
        objects: objects with a ``state_dict``, by name: ``network`` (required), optimizer, scheduler, EMA, early
            stopping.
        weights: path of the weights for the next phase or for inference.
        evaluator: evaluator whose best key metric decides when ``weights`` is written.
        interval: number of epochs between two ``last.pt``; the last epoch is always saved.
        resume: True resumes from ``last.pt``, or from ``previous.pt`` if ``last.pt`` is damaged.
        weights_at_end: True writes ``weights`` at the end of the run, whatever the evaluator says, as for a
            pretraining.
        record: gives what makes the run's product, see :func:`monai_ext.bundle.running_record`. A checkpoint of another
            record is refused.
        report: path of the report; where the weights, their record and both forms of the report are there, a resumed
            run is finished.
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
        record: Callable[[], Mapping[str, Any] | None] = lambda: None,
        report: str | None = None,
    ) -> None:
        if "network" not in objects:
            raise ValueError(f"objects must hold the network, got {sorted(objects)}")
        self.last, self.previous = Path(save_dir) / "last.pt", Path(save_dir) / "previous.pt"
        self.objects, self.weights, self.evaluator = dict(objects), weights, evaluator
        self.interval, self.resume, self.weights_at_end = interval, resume, weights_at_end
        self.record, self.report = record, report
        self._best: dict[str, Any] | None = None  # weights of the best epoch
        self._saved = -1  # iteration of the last checkpoint
        self._extra = False  # one that SIGTERM asked for
        # Where a resumed run is: batches seen of the epoch, and random numbers.
        self._place: tuple[int, Mapping[str, Any]] | None = None

    def attach(self, engine: Engine) -> None:
        """Resume at the start, save after epochs and at the end; raise now if the files cannot be written."""
        if getattr(engine.state, "rank", 0) == 0:
            for path in (self.last, self.weights):
                check_can_write(path)
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.GET_BATCH_STARTED, self.skip_batches)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.epoch_completed)
        engine.add_event_handler(Events.COMPLETED, self.completed)
        if self.evaluator is not None:
            self.evaluator.add_event_handler(Events.ITERATION_COMPLETED, self.validated, engine)

    def start(self, engine: Engine) -> None:
        """Restore the run if ``resume`` is set.

        Raises:
            ConfigError: the checkpoint, or the finished run, is another run's.
            CheckpointError: the checkpoint cannot be read or does not fit.
        """
        if not engine.has_event_handler(self.step_completed, Events.ITERATION_COMPLETED):  # both after all others
            engine.add_event_handler(Events.ITERATION_COMPLETED, self.step_completed)
            engine.add_event_handler(Events.STARTED, self.finish_epoch)
        now = self.record()
        if self.resume and self._is_finished(now):
            logger.warning("%s: this run is finished; nothing to resume", self.last.parent)
            engine.terminate(skip_completed=True)
            return
        if self.resume and (checkpoint := self._read()) is not None:
            if "random" not in checkpoint or (checkpoint["record"] is None and now is not None):
                raise CheckpointError(f"{self.last}: nothing tells what made it. Start without --resume")
            self._refuse_another(self.last, checkpoint["record"], now)
            self._restore(engine, checkpoint)
        elif self.resume:
            logger.warning("nothing to resume in %s: the run starts from the beginning", self.last.parent)
        elif found := _other(read_record(self.weights), now):
            logger.warning("%s of another run will be replaced: %s", self.weights, some_of(found))
        wait_for_all()
        if getattr(engine.state, "rank", 0) == 0:
            record_file(self.weights).unlink(missing_ok=True)  # until all is written again
        finish_step(True)

    def _is_finished(self, now: Mapping[str, Any] | None) -> bool:
        """Whether all that a run writes at its end is there; its record comes last."""
        found = read_record(self.weights)
        if found is None or now is None:
            return False
        self._refuse_another(record_file(self.weights), found, now)
        report = [] if self.report is None else [Path(self.report), Path(self.report).with_suffix(".html")]
        return all(path.is_file() for path in (Path(self.weights), *report))

    def _refuse_another(self, file: Path, before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> None:
        if found := _other(before, now):
            raise ConfigError(
                f"{file} is of another run: {some_of(found)}. Resume with the settings and data that began it, or give "
                "another --run_dir; without --resume the run begins anew"
            )

    def _restore(self, engine: Engine, checkpoint: Mapping[str, Any]) -> None:
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
        self._saved, self._best = state.iteration, checkpoint["best_weights"]
        random = checkpoint["random"][min(process_rank(), len(checkpoint["random"]) - 1)]
        if self.evaluator is not None:
            vars(self.evaluator.state).update(checkpoint["best"])
        if self._best is not None and state.rank == 0:
            save_atomically(self._best, self.weights)  # later ones may be there, or none
        seen = state.iteration - (state.epoch - 1) * state.epoch_length
        logger.info("%s: going on after step %d, in epoch %d of %d", self.last, seen, state.epoch, state.max_epochs)
        self._place, self._extra = (seen, random), not self._is_due(state)
        if seen < state.epoch_length:
            state.epoch -= 1

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

    def finish_epoch(self, engine: Engine) -> None:
        """Where a resumed run has done all steps of an epoch, go on with what comes after them."""
        state: Any = engine.state
        if self._place is not None and state.iteration == state.epoch * state.epoch_length:
            (_, random), self._place = self._place, None
            set_random_state(random)
            engine.fire_event(Events.EPOCH_COMPLETED)

    def skip_batches(self, engine: Engine) -> None:
        """Draw the batches that a resumed run has seen of its epoch, then go on with its random numbers."""
        if self._place is not None:
            (seen, random), self._place = self._place, None
            for _ in range(seen):
                next(engine._dataloader_iter)  # type: ignore[arg-type]
            set_random_state(random)

    def step_completed(self, engine: Engine) -> None:
        """Save the checkpoint after the last step of an epoch; save it after any step if SIGTERM asks, and stop."""
        state: Any = engine.state
        asked = any_of_all(is_asked())
        if asked or self._is_due(state):
            self._save(engine)
        if asked:
            stop()

    def _is_due(self, state: Any) -> bool:
        ended = state.iteration == state.epoch * state.epoch_length
        return ended and (state.epoch % self.interval == 0 or state.epoch == state.max_epochs)

    def validated(self, evaluator: Engine, engine: Engine) -> None:
        """Save the checkpoint after a case of the validation if SIGTERM asks, and stop.

        Several processes validate different cases and meet at the end: one that left would be an error of the others.
        They stop after the next step instead; the checkpoint was saved before the validation.
        """
        state: Any = engine.state
        if is_asked() and num_processes() == 1:
            if self._saved != state.iteration:
                self._save(engine, alone=True)
            stop()

    def epoch_completed(self, engine: Engine) -> None:
        """Save the best weights after an epoch."""
        state: Any = engine.state
        self._check_finite(state.epoch)
        validation: Any = getattr(self.evaluator, "state", None)
        if (
            validation is not None
            and not self.weights_at_end
            and validation.best_metric_epoch == state.epoch
            and state.rank == 0
        ):
            self._best = self._copy_weights()
            save_atomically(self._best, self.weights)

    def completed(self, engine: Engine) -> None:
        """Save the weights of the end of the run where they are wanted."""
        finish_step(False)
        validation: Any = getattr(self.evaluator, "state", None)
        no_best = validation is None or validation.best_metric_epoch == -1 or math.isnan(validation.best_metric)
        if no_best and validation is not None and not self.weights_at_end:
            logger.warning(
                "validation gave no finite metric, so there is no best epoch; the weights of the last epoch are kept"
            )
        state: Any = engine.state
        self._check_finite(state.epoch)
        if state.rank == 0 and (self.weights_at_end or no_best):
            save_atomically(self._copy_weights(), self.weights)

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

    def _copy_weights(self) -> dict[str, Tensor]:
        """The network's weights of now: a plain dict, which gives the same bytes also after it was read again."""
        state: dict[str, Tensor] = _bare(self.objects["network"]).state_dict()
        return {name: value.detach().cpu().clone() for name, value in state.items()}

    def _save(self, engine: Engine, alone: bool = False) -> None:
        """Save the checkpoint; ``alone`` where the other processes do not do so at the same time."""
        state: Any = engine.state
        self._check_finite(state.epoch)
        random = [random_state()] if alone else from_all(random_state())
        # An extra one becomes no previous one: what is there in the end is what an uninterrupted run leaves.
        previous = None if self._extra else self.previous
        self._saved, self._extra = state.iteration, not self._is_due(state)
        if state.rank != 0:
            return
        validation: Any = getattr(self.evaluator, "state", None)
        checkpoint = {
            "epoch": state.epoch,
            "iteration": state.iteration,
            "random": random,
            "best": {k: getattr(validation, k, -1) for k in ("best_metric", "best_metric_epoch")},
            "best_weights": self._best,
            "objects": {name: _bare(item).state_dict() for name, item in self.objects.items()},
            "record": plain(self.record()),
        }
        save_atomically(checkpoint, self.last, previous)


def _other(before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> list[str]:
    """Where the record of a checkpoint or of weights differs from this run's; nothing where there is none."""
    return [] if before is None or now is None else differences(before, plain(now))


def _bare(item: Any) -> Any:
    """The network inside the wrapper that spreads it over devices."""
    return item.module if isinstance(item, nn.parallel.DistributedDataParallel) else item
