"""Lesions found in each prostate, for the report of a run."""

from __future__ import annotations

from typing import Any

import numpy as np
from ignite.engine import Engine, Events

__all__ = ["ProstateReport"]


class ProstateReport:
    """Collect lesions, case score, and volumes of gland and lesions of every case in ``cases``.

    Add ``cases`` to the settings of :class:`RunReport`, which writes them when the run ends. Items need the keys that
    :class:`~monai_ext.transforms.DetectLesionsd` adds. The gland's volume is that of the mask on the network's grid.
    """

    def __init__(self) -> None:
        self.cases: dict[str, dict[str, Any]] = {}

    def attach(self, engine: Engine) -> None:
        """Collect each case after its postprocessing."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

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
            if "gland" in item:
                gland = item["gland"]
                voxel = float(np.abs(np.linalg.det(gland.affine.cpu().double().numpy()[:3, :3])))
                found["gland_volume_ml"] = round(int((gland > 0).sum()) * voxel / 1000, 2)
            self.cases[str(item.get("id", len(self.cases)))] = found
