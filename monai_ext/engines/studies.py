"""Inference over studies: one that cannot be used does not stop the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.inferers import Inferer
from torch import nn

from monai_ext.data.studies import StudyDataset
from monai_ext.engines.segmentation import SegmentationEvaluator
from monai_ext.errors import StudyError
from monai_ext.processes import from_all_at_the_end

__all__ = ["StudyEvaluator"]

logger = logging.getLogger(__name__)

SHOWN = 100  # failures in the message of the error


class StudyEvaluator(SegmentationEvaluator):
    """:class:`SegmentationEvaluator` for inference over studies.

    A study among several that cannot be prepared, segmented or written is noted in ``failures`` (id, cause, remedy and
    file) and left out; the others are done. Each study that is done gets its record
    (:meth:`~monai_ext.data.StudyDataset.finish`) after all handlers have seen it. A run with failures ends with an
    error after its report is written. Processes of torchrun wait for each other before they end.

    Args:
        device: where the network runs.
        dataset: the studies that are left.
        network: on its device.
        inferer: how the network runs over a study.
        postprocessing: from the network's output to what is written.
        val_handlers: handlers of the run.
    """

    def __init__(
        self,
        device: torch.device,
        dataset: StudyDataset,
        network: nn.Module,
        inferer: Inferer | None = None,
        postprocessing: Callable[..., Any] | None = None,
        val_handlers: Sequence | None = None,
    ) -> None:
        self.failures: list[dict[str, str]] = []
        self._since = 0.0
        self.dataset = dataset
        super().__init__(device, dataset, network, inferer, postprocessing, None, val_handlers)
        self.add_event_handler(Events.ITERATION_COMPLETED, self._finish)

    def _iteration(self, engine: Any, batchdata: Any) -> Any:
        case, self._since = str(batchdata["id"][0]), time.time()
        failure = {name: text[0] for name, text in batchdata.get("failure", {}).items()}
        if not failure:
            try:
                return super()._iteration(engine, batchdata)
            except Exception as error:
                failure = self.dataset.failure(error)
        self.failures.append({"id": case, **failure})
        logger.error("study %s cannot be done: %s", case, failure["cause"])
        engine.state.batch = []  # for handlers there is nothing in this iteration
        return []

    def _finish(self, engine: Engine) -> None:
        number = f"{engine.state.iteration} of {len(self.dataset)}"
        for item in engine.state.batch:  # type: ignore[union-attr]
            self.dataset.finish(str(item["id"]))
            seconds = time.time() - self._since
            logger.info("study %s is done: %s, %.1f s", item["id"], number, seconds)

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override]
        """Do all studies that are left.

        Raises:
            StudyError: some of them, of this process or another, could not be done.
        """
        if len(self.dataset):
            super().run(global_epoch)
        else:
            print("all studies are done")
        failed = [failure for share in from_all_at_the_end(self.failures) for failure in share]
        if failed:
            lines = [
                f"  case {one['id']}: {one['file'] and one['file'] + ': '}{one['cause']}. {one['remedy']}"
                for one in failed
            ]
            if len(lines) > SHOWN:
                lines[SHOWN:] = [f"  ... and {len(lines) - SHOWN} more; the report lists all"]
            head = f"{len(failed)} of {self.dataset.num_studies} studies could not be done; the others are"
            raise StudyError("\n".join([head, *lines]), failed)
