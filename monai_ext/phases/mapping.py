"""The anomaly-map phase: maps of every case with provenance, and how good they are."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from torch import Tensor

from monai_ext.bundle import running_record
from monai_ext.data import GeneratorPlan, MapProvenance, fingerprint, map_file
from monai_ext.data.entries import Item
from monai_ext.data.io.csv_file import write_csv
from monai_ext.data.io.json_file import write_json
from monai_ext.data.io.record import write_record
from monai_ext.data.io.whole_file import whole_file
from monai_ext.errors import DataError
from monai_ext.handlers.anomaly_figure import AnomalyRow, draw_anomalies
from monai_ext.metrics import MetricTable, psnr_inside, ssim_inside
from monai_ext.networks import read_checkpoint
from monai_ext.phases.map_judgement import compare_maps, counterfactual_keys, judge_case, map_gains
from monai_ext.processes import from_all, is_first, num_processes, process_rank, wait_for_all
from monai_ext.progress_bar import progress_bar
from monai_ext.transforms import GENERATOR_SCALES, AnomalyMapper, ProstatePreprocessing, Views, onto_grid
from monai_ext.transforms.grid import GRID_AFFINE, GRID_SHAPE
from monai_ext.versions import versions

__all__ = ["MapPhase"]

logger = logging.getLogger(__name__)

INVERTED = 4  # slices of a case on which inversion is tried


class MapPhase:
    """Write the maps on the grid of T2W, and report how good they are.

    ``report.json`` has for each section of the datalist: SSIM and PSNR inside the gland, and of the cases with lesion
    what :func:`judge_case` measures, beside maps that need no training, as means over patients with n and 95 % CI;
    ``cases.csv`` has the values of every case; ``maps.png`` shows input, reconstruction, map and truth. Voxels are
    those of the generators' grid. Choose a generator by AUROC and AP: SSIM and PSNR are highest for the identity, which
    finds nothing. Under cross-fitting ``insample`` rows tell what the other generator, which has learned from the
    patient, would have made. Items that name images without the lesion (``healthy_t2w``, ``healthy_adc``,
    ``healthy_hbv``, see the phantom) are also compared with these.

    Maps that are there already, of the same generator and settings, are kept.

    Args:
        sections: items by the name of their section.
        plan: which generator makes whose maps.
        preprocessing: loads a study.
        mapper: makes maps; its ``weights`` are the folder of the first generator.
        generators: folder that holds ``split0``, ``split1``, ...
        output_dir: takes ``<case>/<case>_adc_map.nii.gz`` with the provenance, the report, the values and the picture.
        settings: worth keeping in report and provenance.
        num_drawn: cases in the picture.
    """

    def __init__(
        self,
        sections: Mapping[str, Sequence[Item]],
        plan: GeneratorPlan,
        preprocessing: ProstatePreprocessing,
        mapper: AnomalyMapper,
        generators: str,
        output_dir: str,
        settings: Mapping[str, Any] | None = None,
        num_drawn: int = 3,
    ) -> None:
        self.sections, self.plan, self.preprocessing = dict(sections), plan, preprocessing
        self.generators, self.output_dir = Path(generators), Path(output_dir)
        self.settings, self.num_drawn = dict(settings or {}), num_drawn
        self.mappers = [mapper.of(self.generators / f"split{k}") for k in range(len(plan.learns))]
        self.cases: dict[str, dict[tuple[str, str], dict[str, float]]] = {}  # by section, then case and patient
        self.rows: list[AnomalyRow] = []

    def run(self) -> None:
        """The whole phase."""
        started = time.time()
        makers = [{m: self._identify(mapper, m) for m in mapper.modalities} for mapper in self.mappers]
        work = [
            (section, item, k)
            for section, items in self.sections.items()
            for item in items
            if (k := self.plan.generator_of(str(item["patient"]))) is not None
        ]
        mine = work[process_rank() :: num_processes()]
        for section, item, k in progress_bar(mine, "anomaly maps", "case"):
            study = self.preprocessing.study(item)
            views = self.mappers[k].look(study, str(item["patient"]), "label" in item)
            self._write(study, views, item, makers[k])
            self._judge(section, study, views, item)
        self._gather()
        if is_first():
            self._report(len(work), round(time.time() - started, 1))
            if (record := running_record()) is not None:
                write_record(self.output_dir / "report.json", record)
        wait_for_all()

    def _gather(self) -> None:
        """Bring together what the processes measured and drew."""
        found = from_all((self.cases, self.rows))
        self.cases = {section: {} for section in self.sections}
        for cases, _ in found:
            for section, measured in cases.items():
                self.cases[section] |= measured
        self.rows = [row for _, rows in found for row in rows][: self.num_drawn * len(self.mappers[0].modalities)]

    def _identify(self, mapper: AnomalyMapper, modality: str) -> str:
        """Fingerprint of a generator, which must be that of its record."""
        path = mapper.weights / f"{modality}.pt"
        found = fingerprint(read_checkpoint(path))
        recorded = mapper.record(modality)["generator"]
        if found != recorded:
            raise DataError("the record beside this generator is of other weights", "Train it again.", file=path)
        return found

    def _write(self, study: Mapping[Any, Any], views: Views, item: Item, makers: Mapping[str, str]) -> None:
        """Maps and provenance of one case, on the grid of its T2W file."""
        mapper = self.mappers[self.plan.generator_of(str(item["patient"])) or 0]
        affine, shape = study[GRID_AFFINE], study[GRID_SHAPE].tolist()
        for modality, found in mapper.place(views, study["gland"]).items():
            settings = {"modality": modality, **mapper.settings, **self.settings}
            learned = tuple(mapper.learned_from(modality))
            provenance = MapProvenance(str(item["patient"]), makers[modality], learned, _plain(settings))
            path = map_file(self.output_dir, str(item["id"]), modality)
            try:
                if MapProvenance.read(path) == provenance:
                    continue
            except DataError:
                pass  # there is none, or none that can be used
            # The same voxels in another order: nearest neighbour moves them without rounding.
            values = onto_grid(found, affine, shape, "nearest").as_tensor()[0].numpy()
            MapProvenance.file_of(path).unlink(missing_ok=True)
            with whole_file(path) as temporary:
                nib.save(nib.Nifti1Image(values.astype(np.float32), affine.numpy()), temporary)  # type: ignore[attr-defined]
            provenance.write(path)

    def _judge(self, section: str, study: Mapping[Any, Any], views: Views, item: Item) -> None:
        """Collect the measures of one case."""
        patient, gland = str(item["patient"]), views.gland
        mapper = self.mappers[self.plan.generator_of(patient) or 0]

        found = self.cases.setdefault(section, {}).setdefault((str(item["id"]), patient), {})
        for modality, image in views.images.items():
            low, high = GENERATOR_SCALES[modality].range
            found[f"ssim_{modality}"] = ssim_inside(image, views.reconstructions[modality], gland, high - low)
            found[f"psnr_{modality}"] = psnr_inside(image, views.reconstructions[modality], gland, high - low)
            slices = _widest(gland, INVERTED)
            again = mapper.invert(image, gland, modality, slices)
            if again is not None:  # of diffusion: how exactly its decoder undoes its encoder without guidance
                within = gland[..., slices]
                found[f"psnr_inversion_{modality}"] = psnr_inside(image[..., slices], again, within, high - low)
        if "label" not in study:
            return
        lesion = (study["label"] >= self.preprocessing.lesion_from).float()
        truth = onto_grid(lesion, views.affine, gland.shape[1:], "nearest").as_tensor() > 0.5
        self._draw(views, truth, item)
        if not (truth & gland).any():
            return
        learner = next((k for k, taught in enumerate(self.plan.learns) if patient in taught), None)
        leaking = None
        if learner is not None and self.plan.scheme == "crossfit":
            # What the maps would be if a generator made them for its own training patients.
            leaking = self.mappers[learner].look(study, patient)
        found.update(judge_case(study, views, truth, mapper, leaking, self._healthy(item)))

    def _healthy(self, item: Item) -> dict[Any, Any] | None:
        """The study of the patient without the lesion, where the datalist names it (the phantom does)."""
        keys = counterfactual_keys()
        if any(key not in item for key in keys.values()):
            return None
        return self.preprocessing.study(dict(item) | {modality: item[key] for modality, key in keys.items()})

    def _draw(self, views: Views, truth: Tensor, item: Item) -> None:
        """Keep the slice of a case with the most lesion."""
        if len(self.rows) >= self.num_drawn * len(views.maps) or not truth.any():
            return
        z = int(truth[0].sum((0, 1)).argmax())
        gland = views.gland[0, :, :, z].numpy()
        for modality, image in views.images.items():
            seen, made, found = (
                np.where(gland, volume[0, :, :, z].numpy(), np.nan)
                for volume in (image, views.reconstructions[modality], views.maps[modality])
            )
            title = f"{item['id']}, slice {z + 1}\n{modality}"
            self.rows.append(AnomalyRow(title, seen, made, found, truth[0, :, :, z].numpy()))

    def _report(self, count: int, seconds: float) -> None:
        table, lines = MetricTable(), []
        for section, cases in self.cases.items():
            map_gains(cases.values())
            for name in sorted({name for measured in cases.values() for name in measured}):
                shown = {key: measured[name] for key, measured in cases.items() if name in measured}
                table.add(f"{name}_{section}", list(shown.values()), groups=[patient for _, patient in shown])
            for (case, patient), measured in cases.items():
                named = {f"{name}_{section}": f"{value:.6g}" for name, value in measured.items() if value == value}
                lines.append({"case": case, "patient": patient, **named})
        for modality in self.mappers[0].modalities:
            if heads := [auroc for m in self.mappers if (auroc := m.head_auroc(modality)) is not None]:
                table.add(f"domain_head_auroc_{modality}", heads)
        write_csv(lines, self.output_dir / "cases.csv")
        if self.rows:
            draw_anomalies(self.rows, self.output_dir / "maps.png")
        metrics = table.as_dict()
        verdicts = [text for section in self.sections for text in compare_maps(metrics, section)]
        print("\n".join([f"\nanomaly maps: {self.output_dir}", str(table), *verdicts, ""]))
        report = {
            "phase": "mapping",
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "seconds": seconds,
            "versions": versions(),
            "scheme": self.plan.scheme,
            "generators": {f"split{k}": list(patients) for k, patients in enumerate(self.plan.learns)},
            "data": {"maps": {"items": count, "cases": count}},
            **self.settings,
            "metrics": metrics,
            "verdicts": verdicts,
        }
        write_json(report, self.output_dir / "report.json")
        logger.info("report: %s", self.output_dir / "report.json")


def _widest(gland: Tensor, count: int) -> list[int]:
    """The slices of a bool gland ``[1, X, Y, Z]`` with the most pixels."""
    return sorted(gland[0].sum((0, 1)).argsort(descending=True, stable=True)[:count].tolist())


def _plain(value: Any) -> Any:
    """What JSON gives back for a value, so that what is read equals what was written."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
