"""The handlers of every evaluation and inference, in the required order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ignite.engine import Engine, Events
from torch import nn

from monai_ext.bundle import running_record
from monai_ext.handlers.progress import Progress
from monai_ext.handlers.report import RunReport
from monai_ext.handlers.seen import patients_in, refuse_seen
from monai_ext.handlers.weights import WeightsLoader

__all__ = ["EvaluationRun"]


class EvaluationRun:
    """Weights, progress and report: the counterpart of :class:`TrainingRun` for evaluation and inference.

    The report of inference has the number of ``studies`` in the list, and the ``failures`` of this run.

    Args:
        phase: name of the phase, shown and reported.
        output_dir: folder of ``report.json`` and ``report.html``.
        network: network that receives the weights, already on its device.
        weights: path of the weights to load; their SHA-256 is reported.
        metrics: handlers with a ``summary()`` for the report, see :class:`RunReport`.
        settings: further values to report.
        allow_seen: False refuses weights that have learned from patients of the evaluation; True reports them; None,
            for an inference, asks nothing.
    """

    def __init__(
        self,
        phase: str,
        output_dir: str,
        network: nn.Module,
        weights: str | None,
        metrics: Sequence[Any] = (),
        settings: Mapping[str, Any] | None = None,
        allow_seen: bool | None = None,
    ) -> None:
        self.phase, self.output_dir, self.network, self.weights = phase, output_dir, network, weights
        self.metrics, self.settings, self.allow_seen = metrics, dict(settings or {}), allow_seen

    def attach(self, engine: Engine) -> None:
        """Attach all handlers to the evaluator."""
        data = {"cases": engine.data_loader.dataset}  # type: ignore[attr-defined]
        if self.allow_seen is not None:
            engine.add_event_handler(Events.STARTED, self._refuse_seen)
        path = f"{self.output_dir}/report.json"
        settings = dict(self.settings or {})
        if hasattr(engine, "failures"):  # inference, which goes on after a study that cannot be done
            settings |= {"studies": engine.dataset.num_studies, "failures": engine.failures}  # type: ignore[attr-defined]
        report = RunReport(path, self.phase, data=data, metrics=self.metrics, weights=self.weights, settings=settings)
        for handler in (WeightsLoader(self.network, self.weights), Progress(self.phase), report):
            handler.attach(engine)

    def _refuse_seen(self, engine: Engine) -> None:
        seen = (running_record() or {}).get("seen", {})
        judged = patients_in(engine.data_loader.dataset)  # type: ignore[attr-defined]
        found = refuse_seen(seen, judged, bool(self.allow_seen))
        self.settings |= {"seen_before": found} if found else {}
