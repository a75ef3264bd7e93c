"""All that every training run needs, in the order in which it has to happen."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ignite.engine import Engine, Events
from monai.engines import Evaluator
from monai.handlers import EarlyStopHandler, LrScheduleHandler, TensorBoardStatsHandler
from torch.utils.tensorboard import SummaryWriter

from monai_ext.bundle import running_record
from monai_ext.data.io.record import write_record
from monai_ext.handlers.checkpoint import Checkpoints
from monai_ext.handlers.learning_rate import LearningRate
from monai_ext.handlers.nan_guard import NaNGuard
from monai_ext.handlers.progress import Progress
from monai_ext.handlers.report import RunReport
from monai_ext.handlers.reproducible import SeedEpochs
from monai_ext.handlers.seen import patients_in, refuse_seen

__all__ = ["TrainingRun"]

logger = logging.getLogger(__name__)


class TrainingRun:
    """Seeds, NaN guard, learning-rate schedule, validation, early stopping, checkpoints, scalars, progress, report.

    Each of them is a handler of its own, and a config can name them one by one; this is the combination that all
    phases share. Order matters: nothing is saved from an epoch whose loss was not finite, and the best weights are
    saved after validation.

    Args:
        phase: name shown and reported.
        output_dir: takes ``last.pt``, ``report.json``, ``report.html`` and the TensorBoard files.
        weights: see :class:`Checkpoints`; what made it stands in a record beside it.
        lr_scheduler: a :class:`LearningRate`, or a schedule of torch that is stepped every iteration.
        evaluator: run every ``val_interval`` epochs and after the last; its key metric picks the best epoch.
        val_interval: epochs between validations.
        patience: epochs without a better key metric after which the run ends.
        seed: of the run.
        resume: go on from ``last.pt``.
        save_interval: epochs between two ``last.pt``.
        weights_at_end: see :class:`Checkpoints`.
        objects: what a resumed run needs besides the trainer's ``network`` and ``optimizer``: an EMA; these two also
            where the trainer is one of MONAI's own, which has them too late.
        settings: anything else worth reporting.
        metrics: handlers with a ``summary()`` for the report, see :class:`RunReport`; an evaluator that has one is
            among them, and the record beside the weights has their means.
        allow_seen: True trains from weights that have learned from patients of the validation, and reports them.
    """

    def __init__(
        self,
        phase: str,
        output_dir: str,
        weights: str,
        lr_scheduler: Any = None,
        evaluator: Evaluator | None = None,
        val_interval: int = 1,
        patience: int | None = None,
        seed: int = 0,
        resume: bool = False,
        save_interval: int = 1,
        weights_at_end: bool = False,
        objects: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        metrics: Sequence[Any] = (),
        allow_seen: bool = False,
    ) -> None:
        self.phase, self.output_dir, self.weights = phase, output_dir, weights
        self.lr_scheduler, self.objects = lr_scheduler, dict(objects or {})
        self.evaluator, self.val_interval, self.patience = evaluator, val_interval, patience
        self.seed, self.resume, self.save_interval, self.weights_at_end = seed, resume, save_interval, weights_at_end
        self.settings, self.metrics, self.allow_seen = dict(settings or {}), list(metrics), allow_seen
        if hasattr(evaluator, "summary"):
            self.metrics.append(evaluator)

    def attach(self, engine: Engine) -> None:
        """Attach all handlers to the trainer."""
        evaluator = self.evaluator
        objects = {name: getattr(engine, name) for name in ("network", "optimizer") if hasattr(engine, name)}
        objects |= self.objects
        data: dict[str, Any] = {"train": _items(engine)}
        others = getattr(engine.data_loader, "unlabelled", None)  # type: ignore[attr-defined]
        data |= {} if others is None else {"unlabelled": others}
        data |= {} if evaluator is None else {"validation": _items(evaluator)}
        self.settings["patients"] = {role: patients_in(items) for role, items in data.items()}
        engine.add_event_handler(Events.STARTED, self._refuse_seen)
        for handler in (SeedEpochs(self.seed), NaNGuard()):
            handler.attach(engine)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._validate)
        handlers: list[Any] = []
        if isinstance(self.lr_scheduler, LearningRate):
            self.lr_scheduler.attach(engine, objects["optimizer"])
        elif (schedule := self.lr_scheduler or objects.get("lr_scheduler")) is not None:
            objects["lr_scheduler"] = schedule
            handlers.append(LrScheduleHandler(schedule, print_lr=False, epoch_level=False))
        if evaluator is not None and self.patience:
            objects["early_stop"] = self._stop_early(engine, evaluator)
        writer = self._log_scalars(engine, handlers) if engine.state.rank == 0 else None  # type: ignore[attr-defined]
        report = f"{self.output_dir}/report.json"
        handlers += [
            Checkpoints(
                self.output_dir,
                objects,
                self.weights,
                evaluator,
                self.save_interval,
                self.resume,
                self.weights_at_end,
                self.record,
                report,
            ),
            Progress(self.phase, evaluator),
            RunReport(
                report,
                self.phase,
                self.seed,
                data,
                self.metrics,
                evaluator=evaluator,
                weights=self.weights,
                settings=self.settings,
                writer=writer,
            ),
        ]
        for handler in handlers:
            handler.attach(engine)
        engine.add_event_handler(Events.STARTED, self._record_last)

    def record(self) -> dict[str, Any] | None:
        """What makes the weights, patients by role included; None where no phase of a bundle is running."""
        found = running_record()
        if found is None:
            return None
        return {**found, "patients": self.settings["patients"]}

    def _refuse_seen(self, engine: Engine) -> None:
        seen = (running_record() or {}).get("seen", {})
        found = refuse_seen(seen, self.settings["patients"].get("validation", ()), self.allow_seen)
        self.settings |= {"seen_before": found} if found else {}

    def _record_last(self, engine: Engine) -> None:
        """Write the record after all that others do when the run is completed."""
        if not engine.has_event_handler(self._record, Events.COMPLETED):
            engine.add_event_handler(Events.COMPLETED, self._record)

    def _record(self, engine: Engine) -> None:
        """Say what made the weights, once all else is written."""
        record, state = self.record(), vars(engine.state)
        found: Mapping[str, Any] = getattr(self.evaluator, "summary", dict)()
        metrics = {name: row["mean"] for name, row in found.items() if row["mean"] == row["mean"]}
        if metrics.get("r2", 1.0) <= 0:
            logger.warning(
                "NOTHING LEARNED: on unseen cases the reconstruction is no better than a trivial fill (R2 %.2f). Train "
                "longer, or with another rate, before anything is concluded from these weights",
                metrics["r2"],
            )
        if record is not None and state["rank"] == 0:
            write_record(self.weights, record, metrics)

    def _validate(self, engine: Engine) -> None:
        state: Any = engine.state
        if self.evaluator is not None and (state.epoch % self.val_interval == 0 or state.epoch == state.max_epochs):
            self.evaluator.run(state.epoch)

    def _stop_early(self, trainer: Engine, evaluator: Evaluator) -> Any:
        def score(engine: Engine) -> float:
            state: Any = engine.state
            value = state.metrics[state.key_metric_name]
            return value if evaluator.metric_cmp_fn(1.0, 0.0) else -value

        checks = -(-self.patience // self.val_interval)  # type: ignore[operator]
        handler = EarlyStopHandler(patience=checks, score_function=score, trainer=trainer)
        handler.attach(evaluator)
        return handler._handler

    def _log_scalars(self, trainer: Engine, handlers: list[Any]) -> SummaryWriter:
        writer = SummaryWriter(self.output_dir)
        handlers.append(
            TensorBoardStatsHandler(
                writer,
                iteration_log=_logged,  # type: ignore[arg-type]
                tag_name="train_loss",
                output_transform=lambda output: output["loss"].detach(),
            )
        )
        if self.evaluator is not None:
            TensorBoardStatsHandler(
                writer,
                iteration_log=False,
                output_transform=lambda _: None,
                global_epoch_transform=lambda _: trainer.state.epoch,
            ).attach(self.evaluator)
        return writer


def _logged(engine: Engine, step: int) -> bool:
    """Every tenth step; more often in a short run, whose curve would have no points."""
    state: Any = engine.state
    return step % max(1, min(10, state.max_epochs * (state.epoch_length or 0) // 40)) == 0


def _items(engine: Any) -> Any:
    """What an engine goes through: the data set of its loader."""
    return getattr(engine.data_loader, "dataset", engine.data_loader)
