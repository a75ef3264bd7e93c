"""Lesions found in each prostate, for the report of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events

from monai_ext.data.io.json_file import write_json
from monai_ext.handlers.lesion_report import reports_in

__all__ = ["ProstateReport"]


class ProstateReport:
    """Collect lesions, case score, volumes of gland and lesions, and what the gland was taken from, in ``cases``.

    Add ``cases`` to the settings of :class:`RunReport`, which writes them when the run ends. Items need the keys that
    :class:`~monai_ext.transforms.DetectLesionsd` adds. The gland's volume is that of the mask on the network's grid.

    Args:
        folder: output folder of an inference: each case is written to ``<folder>/<id>/<id>_lesions.json``, and at the
            end ``cases`` are those of every study in it, also of those that another process or an earlier run did.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self.cases: dict[str, dict[str, Any]] = {}

    def attach(self, engine: Engine) -> None:
        """Collect each case after its postprocessing."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._gather)

    def _gather(self, engine: Engine) -> None:
        for path in reports_in(self.folder) if self.folder is not None else ():
            self.cases[path.parent.name] = json.loads(path.read_text(encoding="utf-8"))

    def __call__(self, engine: Engine) -> None:
        """Collect the cases of a batch."""
        state: Any = engine.state
        for batch, output in zip(state.batch, state.output):
            item = {**batch, **output}
            shown = [lesion for lesion in item["lesions"] if lesion["in_mask"]]
            found: dict[str, Any] = {
                "case_score": item["case_score"],
                "lesions": item["lesions"],
                "num_lesions_in_mask": len(shown),
                "lesion_volume_ml": round(sum(lesion["volume_ml"] for lesion in shown), 3),
            }
            if (outside := sum(bool(lesion.get("outside_gland")) for lesion in item["lesions"])) > 0:
                found["num_lesions_outside_gland"] = outside
            if "gland_source" in item:
                found["gland_source"] = item["gland_source"]
            if "gland" in item:
                gland = item["gland"]
                voxel = float(np.abs(np.linalg.det(gland.affine.cpu().double().numpy()[:3, :3])))
                found["gland_volume_ml"] = round(int((gland > 0).sum()) * voxel / 1000, 2)
            case = str(item.get("id", len(self.cases)))
            self.cases[case] = found
            if self.folder is not None:
                write_json(found, self.folder / case / f"{case}_lesions.json")
