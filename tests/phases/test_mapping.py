import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_ext import bundle
from monai_ext.data import GeneratorPlan, MapProvenance, fingerprint, load_datalist, map_file, phantom
from monai_ext.data.io.record import read_record
from monai_ext.errors import DataError
from monai_ext.handlers import GeneratorRecord
from monai_ext.metrics import voxel_auroc
from monai_ext.networks.nets import FixedPointGenerator
from monai_ext.phases import MapPhase
from monai_ext.transforms import AnomalyMapper, ProstatePreprocessing, onto_grid

BOX = {"spacing": (2.0, 2.0, 3.0), "size": (32, 32, 20)}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return FixedPointGenerator(channels=4, num_blocks=1, start_as_identity=False)


@pytest.fixture
def phase(tmp_path, network):
    root = phantom("bpmri")
    sections = {"training": load_datalist(f"{root}/datalist.json", root)[:2]}
    patients = [item["patient"] for item in sections["training"]]
    # Generator 0 has learned from the second patient, generator 1 from the first.
    plan = GeneratorPlan("crossfit", ((patients[1],), (patients[0],)), {patients[0]: 0, patients[1]: 1})
    for split, (learned,) in enumerate(plan.learns):
        network.layers[0].weight.data.mul_(1.5)  # two generators that differ
        path = tmp_path / f"generators/split{split}/hbv.pt"
        path.parent.mkdir(parents=True)
        torch.save(network.state_dict(), path)
        GeneratorRecord(network, str(path), [learned])(None)
    mapper = AnomalyMapper(network, tmp_path / "generators/split0", ["hbv"], **BOX)
    return MapPhase(
        sections,
        plan,
        ProstatePreprocessing(),
        mapper,
        str(tmp_path / "generators"),
        str(tmp_path / "maps"),
        settings={"reconstructor": "fixed_point"},
    )


def test_maps_lie_on_the_grid_of_t2w_with_their_provenance(phase, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bundle, "_record", {"settings": {"scheme": "crossfit"}})
    phase.run()
    assert read_record(tmp_path / "maps/report.json") == {"settings": {"scheme": "crossfit"}}
    for split, item in enumerate(phase.sections["training"]):
        path = map_file(tmp_path / "maps", item["id"], "hbv")
        found, t2w = nib.load(path), nib.load(item["t2w"])
        assert found.shape == t2w.shape
        assert np.abs(found.affine - t2w.affine).max() < 1e-4
        values, gland = found.get_fdata(), np.asarray(nib.load(item["gland"]).dataobj) > 0
        assert (values[~gland] == 0).all()
        assert (values[gland] > 0).mean() > 0.95
        provenance = MapProvenance.read(path)
        assert provenance.patient == item["patient"]
        assert not provenance.leaks
        weights = torch.load(tmp_path / f"generators/split{split}/hbv.pt", weights_only=True)
        assert provenance.generator == fingerprint(weights)
        assert provenance.training_patients == phase.plan.learns[split]
        assert provenance.settings["modality"] == "hbv"
    report = json.loads((tmp_path / "maps/report.json").read_text())
    metrics = report["metrics"]
    for name in ("auroc_map_hbv", "auroc_signed_hbv", "auroc_insample_map_hbv", "ap_trivial_smooth_high_b", "ssim_hbv"):
        assert metrics[f"{name}_training"]["n"] == 2
    assert metrics["auroc_trivial_high_b_training"]["mean"] > 0.8  # lesions of the phantom are bright there
    assert metrics["auroc_insample_map_hbv_training"] != metrics["auroc_map_hbv_training"]
    assert (tmp_path / "maps/maps.png").stat().st_size > 20_000
    assert "auroc_map_hbv_training" in capsys.readouterr().out


def test_reported_auroc_is_that_of_the_voxels(phase, tmp_path):
    phase.run()
    item = phase.sections["training"][0]
    study = phase.preprocessing.study(item)
    views = phase.mappers[0].look(study, item["patient"])
    values = phase.cases["training"][item["id"], item["patient"]]
    truth = onto_grid(study["label"].float(), views.affine, BOX["size"], "nearest").as_tensor() > 0.5
    expected = voxel_auroc(views.maps["hbv"][views.gland], truth[views.gland])
    assert values["auroc_map_hbv"] == pytest.approx(expected)
    lines = list(csv.DictReader((tmp_path / "maps/cases.csv").open()))
    assert [line["case"] for line in lines] == [i["id"] for i in phase.sections["training"]]
    assert float(lines[0]["auroc_map_hbv_training"]) == pytest.approx(expected, abs=1e-6)


def test_the_report_says_whether_a_map_beats_the_trivial_ones(phase, tmp_path, capsys):
    phase.run()
    report = json.loads((tmp_path / "maps/report.json").read_text())
    absolute, signed = report["verdicts"]
    assert absolute.startswith("training: map_hbv")
    assert absolute in (out := capsys.readouterr().out)
    assert signed in out


def test_the_held_out_auroc_of_domain_heads_is_reported(phase, tmp_path):
    phase.run()
    named = "domain_head_auroc_hbv"
    assert named not in json.loads((tmp_path / "maps/report.json").read_text())["metrics"]
    for split, auroc in enumerate((0.8, 0.7)):
        file = tmp_path / f"generators/split{split}/hbv.json"
        record = json.loads(file.read_text())
        record["settings"]["domain_head"] = {"held_out_auroc": auroc}
        file.write_text(json.dumps(record))
    phase.run()
    found = json.loads((tmp_path / "maps/report.json").read_text())["metrics"][named]
    assert (found["mean"], found["n"]) == (pytest.approx(0.75), 2)


def test_a_case_with_its_counterfactual_is_compared_with_it(phase, tmp_path):
    root = phantom("bpmri", num_training=1, num_validation=0, num_testing=0, counterfactual=True)
    phase.sections = {"training": load_datalist(f"{root}/datalist.json", root)}
    phase.run()
    metrics = {n: row["mean"] for n, row in json.loads((tmp_path / "maps/report.json").read_text())["metrics"].items()}
    assert metrics["auroc_oracle_map_hbv_training"] > 0.98
    assert metrics["oracle_removed_hbv_training"] == pytest.approx(1)
    assert metrics["oracle_change_outside_hbv_training"] < 0.01
    assert metrics["correlation_hbv_training"] < 0.5  # of a generator that has learned nothing
    assert metrics["gain_map_hbv_training"] == pytest.approx(
        metrics["auroc_map_hbv_training"] - metrics["auroc_constant_signed_hbv_training"], abs=0.05
    )


def test_what_is_there_is_kept(phase, tmp_path):
    phase.run()
    paths = sorted((tmp_path / "maps").rglob("*.nii.gz"))
    before = [path.stat().st_mtime_ns for path in paths]
    phase.run()
    assert [path.stat().st_mtime_ns for path in paths] == before
    MapProvenance.file_of(paths[0]).unlink()
    phase.run()
    assert [path.stat().st_mtime_ns != old for path, old in zip(paths, before)] == [True, False]


def test_replaced_weights_are_refused(phase, network, tmp_path):
    network.layers[0].weight.data.zero_()
    torch.save(network.state_dict(), tmp_path / "generators/split1/hbv.pt")
    with pytest.raises(DataError, match="of other weights"):
        phase.run()


def test_a_leaking_plan_is_refused(phase):
    swapped = {patient: 1 - split for patient, split in phase.plan.makes.items()}
    phase.plan = GeneratorPlan("crossfit", phase.plan.learns, swapped)
    with pytest.raises(DataError, match="would leak"):
        phase.run()
    assert not list(Path(phase.output_dir).rglob("*.nii.gz"))
