"""Report of a run, as a file for machines and a table for people."""

from __future__ import annotations

import csv
import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import matplotlib.image
import torch
from ignite.engine import Engine, Events
from torch.utils.tensorboard import SummaryWriter

from monai_ext.bundle import bundle_metadata, bundle_name
from monai_ext.data.io.image_files import content_hash
from monai_ext.data.io.json_file import write_json
from monai_ext.data.io.whole_file import whole_file
from monai_ext.handlers.html_report import html_report, worst_first
from monai_ext.handlers.learning_curves import read_scalars
from monai_ext.handlers.tracking import add_artifacts, close_last, prepare_trackers
from monai_ext.metrics import MetricTable
from monai_ext.metrics.crossed_detection import CANDIDATES
from monai_ext.processes import peak_memory
from monai_ext.versions import versions

__all__ = ["RunReport"]

logger = logging.getLogger(__name__)

MAX_PICTURES = 12  # on the page


class RunReport:
    """Write ``report.json`` when a run ends: versions, seed, data, time, memory, and metrics with n and 95 % CI.

    ``report.html`` beside it shows the same to people, with the curves and pictures of the run. MLflow and TensorBoard
    get the pictures too. Metrics with a ``summary()``, such as :class:`monai_ext.metrics.SliceDice`, are printed as a
    table.

    Args:
        path: path of the report.
        phase: name of the phase.
        seed: seed of the run.
        data: data sets by role, whose lengths and numbers of cases are reported.
        metrics: metric handlers to summarize at the end.
        evaluator: evaluator whose best key metric is reported.
        weights: path of the weights whose SHA-256 is reported.
        settings: further values to report, for example a label fraction.
        writer: TensorBoard writer that receives the pictures.
    """

    def __init__(
        self,
        path: str,
        phase: str,
        seed: int | None = None,
        data: Mapping[str, Any] | None = None,
        metrics: Sequence[Any] = (),
        evaluator: Engine | None = None,
        weights: str | None = None,
        settings: Mapping[str, Any] | None = None,
        writer: SummaryWriter | None = None,
    ) -> None:
        self.path, self.phase, self.seed, self.data = path, phase, seed, dict(data or {})
        self.metrics, self.evaluator, self.weights = metrics, evaluator, weights
        self.settings, self.writer = {} if settings is None else settings, writer
        self.started = self.started_processor = 0.0

    def attach(self, engine: Engine) -> None:
        """Time the run and report at its end."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def start(self, engine: Engine) -> None:
        """Start the clock, and order the page after all pictures and before the trackers close."""
        self.started, self.started_processor = time.time(), time.process_time()
        alone = not torch.distributed.is_initialized()
        if alone and (rank := int(os.environ.get("RANK", 0))) and not self.path.endswith(f".{rank}.json"):
            self.path = f"{os.path.splitext(self.path)[0]}.{rank}.json"  # for processes that share a folder
        prepare_trackers([engine, *([] if self.evaluator is None else [self.evaluator])], self.phase)
        if not engine.has_event_handler(self.publish, Events.COMPLETED):
            engine.add_event_handler(Events.COMPLETED, self.publish)
        close_last(engine)

    def write(self, engine: Engine) -> None:
        """Write the report, on rank 0."""
        state: Any = engine.state
        table = MetricTable()
        for handler in self.metrics:
            table.update(getattr(handler, "metric", handler).summary())
        if state.rank != 0:
            return
        report: dict[str, Any] = {
            "phase": self.phase,
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "seconds": round(time.time() - self.started, 1),
            "processor_seconds": round(time.process_time() - self.started_processor, 1),
            "gibibytes": round(peak_memory(torch.device(state.device)), 3),
            "device": str(state.device),
            "threads": torch.get_num_threads(),
            "seed": self.seed,
            "versions": versions(),
            "data": {
                role: {"items": len(data), "cases": len(getattr(data, "data", data))}
                for role, data in self.data.items()
            },
            "epochs": state.epoch,
            "iterations": state.iteration,
        } | dict(self.settings)
        validation: Any = getattr(self.evaluator, "state", None)
        if validation is not None and validation.best_metric_epoch > 0:
            report["best"] = {"epoch": validation.best_metric_epoch, validation.key_metric_name: validation.best_metric}
        if table.rows:
            report["metrics"] = table.as_dict()
            print(f"\n{self.phase}\n{table}\n")
        if self.weights and os.path.isfile(self.weights):
            report["weights"] = {"file": self.weights, "sha256": content_hash(self.weights)}
        write_json(report, self.path)

    def publish(self, engine: Engine) -> None:
        """Write the page, and give the pictures to the trackers, on rank 0."""
        if engine.state.rank != 0:  # type: ignore[attr-defined]
            return
        folder = Path(self.path).parent
        finished = folder.rglob("[!.]*.png")  # a hidden one is half-written, by a process that shares the folder
        drawn = sorted(path for path in finished if path.stat().st_mtime >= self.started - 1)
        cases, order = self._cases(folder)
        rank = {case["case"]: number for number, case in enumerate(cases)}
        pictures = sorted(drawn, key=lambda path: rank.get(path.stem, -1))[:MAX_PICTURES]
        if self.writer is not None:
            for path in pictures:
                image = matplotlib.image.imread(path)[..., :3]
                self.writer.add_image(str(path.relative_to(folder).with_suffix("")), image, dataformats="HWC")
            self.writer.flush()
        page = Path(self.path).with_suffix(".html")
        report = json.loads(Path(self.path).read_text())
        of_cases = {path.stem: path for path in drawn if path.stem in rank}
        about = bundle_name(), bundle_metadata()
        html = html_report(report, read_scalars(folder), pictures, *about, cases, order, of_cases)
        with whole_file(page) as temporary:
            temporary.write_text(html, encoding="utf-8")
        add_artifacts(engine, [Path(self.path), page, *pictures])
        logger.info("report: %s", page)

    def _cases(self, folder: Path) -> tuple[list[Mapping[str, str]], str]:
        """The cases of this run with their metrics, worst first, or with their lesions; and what their order is."""
        for name in ("cases.csv", "lesions.csv"):
            file = folder / name
            if file.is_file() and file.stat().st_mtime >= self.started - 1:
                with open(file, newline="", encoding="utf-8") as lines:
                    rows = list(csv.DictReader(lines))
                cases: list[Mapping[str, str]] = [
                    {key: value for key, value in row.items() if key != CANDIDATES} for row in rows
                ]
                return (cases, "") if name == "lesions.csv" else worst_first(cases)
        return [], ""
