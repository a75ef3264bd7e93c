"""The handlers of every evaluation and inference, in the required order."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ignite.engine import Engine, Events
from torch import nn

from monai_ext.bundle import running_record
from monai_ext.data.io.csv_file import write_csv
from monai_ext.data.io.image_files import content_hash
from monai_ext.handlers.progress import Progress
from monai_ext.handlers.report import RunReport
from monai_ext.handlers.seen import patients_in, refuse_seen
from monai_ext.handlers.weights import WeightsLoader
from monai_ext.metrics import CaseTable, DetectionScore

__all__ = ["EvaluationRun"]


class EvaluationRun:
    """Weights, progress and report: the counterpart of :class:`TrainingRun` for evaluation and inference.

    An evaluation writes ``cases.csv`` too, one row for each case: its id, its patient and its metrics. The report of an
    inference has the number of ``studies`` in the list, and the ``failures`` of this run and the ``notes`` on
    its studies.

    Args:
        phase: name of the phase, shown and reported.
        output_dir: folder of ``cases.csv``, ``report.json`` and ``report.html``.
        network: network that receives the weights, already on its device.
        weights: path of the weights to load; their SHA-256 is reported. Several are those of an ensemble: its inferer
            loads them, and they are listed.
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
        weights: str | Sequence[str] | None,
        metrics: Sequence[Any] = (),
        settings: Mapping[str, Any] | None = None,
        allow_seen: bool | None = None,
    ) -> None:
        self.phase, self.output_dir, self.network = phase, output_dir, network
        self.metrics, self.settings, self.allow_seen = metrics, dict(settings or {}), allow_seen
        paths = [weights] if weights is None or isinstance(weights, str) else list(weights)
        self.weights = paths[0]
        if paths != [weights]:
            self.settings["ensemble"] = {path: content_hash(path) for path in paths if path and os.path.isfile(path)}

    def attach(self, engine: Engine) -> None:
        """Attach all handlers to the evaluator."""
        data = {"cases": engine.data_loader.dataset}  # type: ignore[attr-defined]
        if self.allow_seen is not None:
            engine.add_event_handler(Events.STARTED, self._refuse_seen)
        engine.add_event_handler(Events.COMPLETED, self._write_cases)
        path = f"{self.output_dir}/report.json"
        settings = self.settings
        if hasattr(engine, "failures"):  # inference, which goes on after a study that cannot be done
            studies = engine.dataset  # type: ignore[attr-defined]
            settings |= {"studies": studies.num_studies, "failures": engine.failures, "notes": studies.notes}
        report = RunReport(path, self.phase, data=data, metrics=self.metrics, weights=self.weights, settings=settings)
        for handler in (WeightsLoader(self.network, self.weights), Progress(self.phase), report):
            handler.attach(engine)

    def _refuse_seen(self, engine: Engine) -> None:
        seen = (running_record() or {}).get("seen", {})
        judged = patients_in(engine.data_loader.dataset)  # type: ignore[attr-defined]
        found = refuse_seen(seen, judged, bool(self.allow_seen))
        self.settings |= {"seen_before": found} if found else {}

    def _write_cases(self, engine: Engine) -> None:
        rows: dict[str, dict[str, Any]] = {}
        for handler in self.metrics:
            table = getattr(handler, "metric", handler)
            for row in table.by_case() if isinstance(table, CaseTable | DetectionScore) else ():
                rows.setdefault(str(row["case"]), {}).update(row)
        if not rows:
            return
        lines = [{name: _number(value) for name, value in row.items()} for row in rows.values()]
        write_csv(lines, f"{self.output_dir}/cases.csv")


def _number(value: Any) -> str:
    """A metric with six digits; what is not defined stays empty."""
    return str(value) if isinstance(value, str) else "" if math.isnan(value) else f"{value:.6g}"
