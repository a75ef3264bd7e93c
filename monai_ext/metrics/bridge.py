"""From a function of one case to a metric of MONAI's evaluators, with n and confidence interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.handlers import IgniteMetricHandler, from_engine
from monai.metrics import CumulativeIterationMetric
from torch import Tensor

from monai_ext.metrics.summary import Summary, summarize

__all__ = ["CaseBridge", "CaseTable", "pred_and_label"]

Measure = Callable[[Tensor, Tensor, "list[float] | None"], Tensor]
Columns = Callable[[Tensor, Tensor], "dict[str, tuple[Tensor, Tensor]]"]


def pred_and_label(output: Any) -> Any:
    """The masks in what an evaluator of MONAI puts out; a tuple stands for itself.

    Example:
        >>> from monai_ext.metrics.bridge import pred_and_label
        >>> pred_and_label([{"pred": 1, "label": 2, "image": 3}])
        ([1], [2])
    """
    return output if isinstance(output, tuple) else from_engine(["pred", "label"])(output)


class CaseTable(CumulativeIterationMetric):
    """Accumulate what a function measures in each case.

    Call it with ``y_pred`` and ``y`` of shape ``[B, C, *spatial]``, or lists without B.

    Args:
        measure: takes prediction and label of a case, ``[C, *spatial]``, and mm per voxel (None unless the label is a
            ``MetaTensor``); returns rows ``[R, K]``: one for the case, or one for each slice of it.
        columns: takes the rows of all cases ``[N, K]`` and the number of the case of each ``[N]``; returns by name the
            values behind a mean, NaN where not defined, and the unit (case) that each belongs to. The first is the key
            metric.
        width: K.
        num_keys: names, from the first on, that make up the key metric (its classes).

    Example:
        >>> import torch
        >>> from monai_ext.metrics import CaseTable
        >>> def volume(pred, label, spacing):
        ...     return pred.sum().reshape(1, 1)
        >>> table = CaseTable(volume, lambda rows, case: {"voxels": (rows[:, 0], case)}, width=1)
        >>> _ = table([torch.ones(1, 2, 2), torch.zeros(1, 2, 2)], [torch.ones(1, 2, 2), torch.ones(1, 2, 2)])
        >>> table.results()
        {'voxels': 2.0}
    """

    def __init__(self, measure: Measure, columns: Columns, width: int, num_keys: int = 1) -> None:
        super().__init__()
        self.measure, self.columns, self.width, self.num_keys = measure, columns, width, num_keys
        #: id and patient of each case, where they are known, see :class:`CaseBridge`.
        self.names: list[tuple[str, str]] = []
        self._cases = 0

    def reset(self) -> None:
        """Forget all cases."""
        super().reset()
        self.names, self._cases = [], 0

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **_: Any) -> Tensor:
        """Number of the case, and its rows: ``[B * R, 1 + K]``.

        Raises:
            ValueError: without a label.
        """
        if y is None:
            raise ValueError("a metric of cases needs a label")
        # Numbered so that no two processes of a distributed run give the same number to their cases.
        rank, processes = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        found = []
        for case in range(len(y)):
            spacing = None
            if isinstance(y, MetaTensor):
                spacing = [float(mm) for mm in (y.pixdim[case] if y.is_batch else y.pixdim)]  # type: ignore[attr-defined]
            pred, truth = (mask[case].as_subclass(Tensor) for mask in (y_pred, y))
            rows = self.measure(pred, truth.to(pred.device), spacing)
            number = rows.new_full((len(rows), 1), self._cases * processes + rank)
            found.append(torch.cat([number, rows], dim=1))
            self._cases += 1
        return torch.cat(found)

    def _values(self) -> dict[str, tuple[Tensor, Tensor]]:
        rows = self.get_buffer()
        rows = torch.zeros(0, 1 + self.width) if rows is None else rows
        return self.columns(rows[:, 1:], rows[:, 0])

    def values(self) -> dict[str, Tensor]:
        """Every value behind the means, by name, NaN where it is not defined."""
        return {name: value for name, (value, _) in self._values().items()}

    def results(self) -> dict[str, float]:
        """Mean of each metric over the values that are defined."""
        return {name: value.nanmean().item() for name, value in self.values().items()}

    def summary(self, **options: Any) -> dict[str, Summary]:
        """Each mean with n and a confidence interval; ``options`` go to :func:`summarize`.

        The interval resamples whole patients if :attr:`names` has that of every case, otherwise whole cases.
        """

        def groups(unit: Tensor) -> Tensor | list[str]:
            named = len(self.names) == self._cases and not dist.is_initialized()
            return [self.names[int(case)][1] for case in unit] if named else unit

        return {name: summarize(v, groups(unit), **options) for name, (v, unit) in self._values().items()}

    def by_case(self) -> list[dict[str, str | float]]:
        """``case``, ``patient`` and each metric of every case; of slices, the mean over those where it is defined.

        Of the cases of this process, and only where :attr:`names` has them all; else none.
        """
        if len(self.names) != self._cases or dist.is_initialized():
            return []
        rows: list[dict[str, str | float]] = [{"case": case, "patient": patient} for case, patient in self.names]
        for name, (value, unit) in self._values().items():
            for number, row in enumerate(rows):
                row[name] = value[unit == number].nanmean().item()
        return rows

    def aggregate(self) -> Tensor:
        """Mean of the key metric."""
        return torch.cat(list(self.values().values())[: self.num_keys]).nanmean()


class CaseBridge(IgniteMetricHandler):
    """A :class:`CaseTable` in MONAI's evaluators.

    The mean of the key metric is reported under the name it is attached with; the evaluator's ``state.metrics`` gets
    all other results too, and ``state.metric_details[name]`` the rows of every case. Cases are named by ``id`` and
    ``patient`` of the batch's items, a case without a patient being one.

    Args:
        metric: what is measured.
        output_transform: takes ``(pred, label)`` from the engine's output.

    Example:
        >>> import torch
        >>> from ignite.engine import Engine, Events
        >>> from monai_ext.metrics import CaseBridge, CaseTable
        >>> table = CaseTable(lambda p, y, mm: p.sum().reshape(1, 1), lambda r, case: {"voxels": (r[:, 0], case)}, 1)
        >>> evaluator = Engine(lambda engine, batch: (torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2)))
        >>> CaseBridge(table).attach(evaluator, "size")
        >>> evaluator.run([0]).metrics
        {'size': 4.0, 'voxels': 4.0}
    """

    def __init__(self, metric: CaseTable, output_transform: Callable = pred_and_label) -> None:
        self.metric = metric
        super().__init__(metric_fn=metric, output_transform=output_transform)

    def attach(self, engine: Engine, name: str) -> None:  # type: ignore[override]
        """Attach to an evaluator."""
        super().attach(engine, name)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._name_cases)

    def _name_cases(self, engine: Engine) -> None:
        batch: Any = engine.state.batch
        for item in batch if isinstance(batch, list) else ():  # decollated
            if isinstance(item, Mapping) and "id" in item:
                self.metric.names.append((str(item["id"]), str(item.get("patient", item["id"]))))

    def completed(self, engine: Engine, name: str) -> None:
        """Write the key value under ``name`` and the other results beside it."""
        super().completed(engine, name)
        engine.state.metrics.update({k: v for k, v in self.metric.results().items() if k != name})
