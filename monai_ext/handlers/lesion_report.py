"""Report the lesions that inference found, as a PET reader does, and write the mask on the grid of the CT."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from ignite.engine import Engine, Events
from numpy.typing import NDArray
from torch import Tensor

from monai_ext.data.io.csv_file import write_csv
from monai_ext.data.io.json_file import write_json
from monai_ext.data.io.pet import read_pet
from monai_ext.data.io.whole_file import whole_file
from monai_ext.handlers.scan_view import ScanView
from monai_ext.metrics import lesion_uptake
from monai_ext.transforms.petct import CT_AFFINE, CT_SHAPE
from monai_ext.transforms.resample import interpolate_onto

__all__ = ["LesionReport", "reports_in"]

COLUMNS = ("lesion_count", "volume_ml", "suv_max", "suv_peak", "suv_mean", "tlg_ml")


def reports_in(folder: Path) -> list[Path]:
    """The lesion reports of all studies in an output folder, in the order of their names."""
    return sorted(path for path in folder.glob("*/*_lesions.json") if path.name == f"{path.parent.name}_lesions.json")


class LesionReport:
    """Write ``<folder>/<id>/<id>_lesions.json``, ``<id>_seg_ct.nii.gz``, and ``<folder>/lesions.csv``.

    The report is that of :func:`~monai_ext.metrics.lesion_uptake` on the grid of the PET. The PET is read again,
    because the network saw clipped SUV. Each lesion has the position of its SUVmax in mm (RAS) and its axial ``slice``,
    numbered as in the picture (:class:`PETPreview`). The mask on the grid of the CT is the interpolated probability
    thresholded at 0.5; without a CT it is not written. The table has a line of
    every study in the folder, also of those that another process or an earlier run did.

    Args:
        folder: folder of the files.
        mask: key of the prediction on the grid of the PET, ``[1, X, Y, Z]`` in {0, 1}.
        probability: key of the probability on the same grid, ``[1, X, Y, Z]``; None for no mask on the CT.
    """

    def __init__(self, folder: str, mask: str = "pred", probability: str | None = "lesion_probability") -> None:
        self.folder, self.mask, self.probability = Path(folder), mask, probability

    def attach(self, engine: Engine) -> None:
        """Report each case after its postprocessing, and write the table at the end."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._table)

    def __call__(self, engine: Engine) -> None:
        """Report the cases of a batch."""
        state: Any = engine.state
        for batch, output in zip(state.batch, state.output):
            self.report({**batch, **output})

    def report(self, item: Mapping[str, Any]) -> None:
        """Report one case, decollated."""
        mask, case = item[self.mask], str(item["id"])
        pet = read_pet(item["image"].meta["filename_or_obj"], case)
        affine = mask.affine.cpu().double().numpy()
        spacing = np.linalg.norm(affine[:3, :3], axis=0).tolist()
        found = lesion_uptake(mask[0].cpu(), pet[0], spacing)
        view = ScanView(affine, tuple(mask.shape[1:]))
        for lesion in found["lesions"]:
            lesion["slice"] = lesion["peak_voxel"][view.file_axis(2)] + 1
            lesion["peak_mm"] = [round(float(mm), 2) for mm in (affine @ [*lesion["peak_voxel"], 1.0])[:3]]
        about = {"case": case, "pet": str(item["image"].meta["filename_or_obj"]), "unit": "SUV by body weight, g/ml"}
        write_json({**about, **found}, self.folder / case / f"{case}_lesions.json")
        if self.probability is not None and CT_AFFINE in item:
            self._write_on_ct(item[self.probability], affine, item, case)

    def _write_on_ct(self, probability: Tensor, affine: NDArray[Any], item: Mapping[str, Any], case: str) -> None:
        grid = torch.as_tensor(item[CT_AFFINE]).cpu().double()
        shape = torch.as_tensor(item[CT_SHAPE]).tolist()
        mask = interpolate_onto(torch.as_tensor(probability)[0].cpu(), torch.from_numpy(affine), grid, shape) > 0.5
        image = nibabel.Nifti1Image(mask.numpy().astype(np.uint8), grid.numpy())  # type: ignore[attr-defined, no-untyped-call]
        image.header.set_xyzt_units("mm")
        with whole_file(self.folder / case / f"{case}_seg_ct.nii.gz") as temporary:
            nibabel.save(image, temporary)  # type: ignore[attr-defined]

    def _table(self, engine: Engine) -> None:
        rows = [json.loads(path.read_text(encoding="utf-8")) for path in reports_in(self.folder)]
        write_csv(rows, self.folder / "lesions.csv", ["case", *COLUMNS], extrasaction="ignore")
