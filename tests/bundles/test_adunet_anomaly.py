"""adU-Net from real scans to a report on their grid, and diffusion that inverts its own encoding."""

import json
from pathlib import Path

import itk
import numpy as np
import pytest
import torch
from running import ROOT, run_bundle

from monai_ext.datalist import COMMANDS
from monai_ext.handlers import GeneratorRecord
from monai_ext.networks.nets import build_reconstructor

CONFIGS = ROOT / "bundles/adunet_anomaly/configs"
CASES = ("ProstateX-0000", "ProstateX-0001")
TRAIN, MAPS, DEMO = CONFIGS / "train.json", CONFIGS / "maps.json", CONFIGS / "demo.json"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scans(real_data):
    return real_data("prostatex_bpmri")


@pytest.fixture(scope="module")
def place(scans, tmp_path_factory):
    """Datalists of both forms of the files, and generators of the demo's size that were trained on other patients."""
    folder = tmp_path_factory.mktemp("prostatex")
    for name in ("mha", "dicom"):
        COMMANDS["prostatex"](str(scans), str(folder / f"{name}.json"), dicom=name == "dicom")
    options = json.loads(DEMO.read_text())["generator_options"]
    torch.manual_seed(0)
    generator = build_reconstructor("fixed_point", **options, start_as_identity=False)
    for modality in ("t2w", "adc", "hbv"):
        path = folder / f"generators/split0/{modality}.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(generator.state_dict(), path)
        GeneratorRecord(generator, str(path), ["somebody else"])(None)
    return folder


def where(scans, place):
    return {"dataset_dir": scans, "generators": place / "generators", "scheme": "external"}


@pytest.fixture(scope="module")
def trained(scans, place):
    """Maps and segmenter of the two patients: one fold to train on, the other to validate on."""
    paths = {"output_dir": place / "train", "cache_dir": place / "cache", "model": place / "model.pt"}
    data = {"datalist": place / "mha.json", "maps_dir": place / "maps", "val_fold": 1}
    run_bundle("training", TRAIN, DEMO, cwd=ROOT, **where(scans, place), **paths, **data)
    return place


def corners(path):
    image = itk.imread(str(path))
    shape = tuple(itk.size(image))
    points = [
        image.TransformIndexToPhysicalPoint([int(c * (n - 1)) for c, n in zip(corner, shape)])
        for corner in np.ndindex(2, 2, 2)
    ]
    return shape, np.array([list(point) for point in points])


def assert_same_grid(one, other):
    (shape, points), (wanted, expected) = corners(one), corners(other)
    assert shape == wanted
    assert np.abs(points - expected).max() < 1e-4


def test_maps_training_and_evaluation(scans, trained):
    for case in CASES:
        for modality in ("t2w", "adc", "hbv"):
            found = trained / f"maps/{case}/{case}_{modality}_map.nii.gz"
            assert_same_grid(found, scans / case / f"{case}_t2w.mha")
            provenance = json.loads(Path(str(found).replace(".nii.gz", ".provenance.json")).read_text())
            assert provenance["training_patients"] == ["somebody else"]
    assert json.loads((trained / "train/report.json").read_text())["data"]["train"]["cases"] == 1
    metrics = json.loads((trained / "maps/report.json").read_text())["metrics"]
    assert metrics["auroc_trivial_inverted_adc_training"]["n"] == 1  # ProstateX-0001 has no lesion
    assert metrics["ssim_adc_training"]["n"] == 2
    options = {
        "section": "training",
        "allow_seen": True,
        "output_dir": trained / "evaluate",
        "cache_dir": trained / "cache",
    }
    options |= {"datalist": trained / "mha.json", "maps_dir": trained / "maps", "model": trained / "model.pt"}
    run_bundle("evaluating", CONFIGS / "evaluate.json", DEMO, cwd=ROOT, **where(scans, trained), **options)
    detection = json.loads((trained / "evaluate/report.json").read_text())["detection"]
    assert (detection["num_cases"], detection["num_positives"], detection["num_lesions"]) == (2, 1, 1)
    assert (trained / "evaluate/curves.png").stat().st_size > 10_000


def test_mha_and_dicom_give_the_same_report_on_the_grid_of_t2w(scans, trained):
    for form in ("mha", "dicom"):
        items = f"$monai_ext.data.load_datalist({str(trained / f'{form}.json')!r}, {str(scans)!r})"
        options = {"output_dir": trained / form, "model": trained / "model.pt", "datalist": items, "amp": False}
        run_bundle("inference", CONFIGS / "inference.json", DEMO, cwd=ROOT, **where(scans, trained), **options)
    reports = [json.loads((trained / form / "report.json").read_text())["cases"] for form in ("mha", "dicom")]
    for case in CASES:
        for kind in ("probability", "detection", "seg"):
            paths = [trained / form / case / f"{case}_{kind}.nii.gz" for form in ("mha", "dicom")]
            for path in paths:
                assert_same_grid(path, scans / case / f"{case}_t2w.mha")
            if kind == "probability":
                one, other = (itk.array_from_image(itk.imread(str(path))) for path in paths)
                assert np.ptp(one) > 0.01
                np.testing.assert_allclose(one, other, atol=2e-3)
        assert (trained / f"mha/preview/{case}.png").stat().st_size > 10_000
        assert reports[0][case]["case_score"] == pytest.approx(reports[1][case]["case_score"], abs=2e-3)
        assert 10 < reports[0][case]["gland_volume_ml"] < 200
        assert reports[0][case]["gland_volume_ml"] == reports[1][case]["gland_volume_ml"]


def test_generator_learns_from_real_slices(scans, place):
    paths = {"output_dir": place / "reconstruct", "weights": place / "own/adc.pt", "cache_dir": place / "cache"}
    small = {"img_size": 48, "generator_spacing": [1.5, 1.5, 3.0], "num_slices": 20, "batch_size": 4}
    small |= {"iterations": 4, "max_epochs": 2, "head_steps": 4, "generator_options": {"channels": 8, "num_blocks": 1}}
    small |= {"discriminator_options": {"channels": 8, "num_layers": 4}}
    data = {"dataset_dir": scans, "datalist": place / "mha.json", "scheme": "insample", "bare_scans": False}
    run_bundle("reconstructing", CONFIGS / "reconstruct.json", cwd=ROOT, **data, **paths, **small)
    record = json.loads((place / "own/adc.json").read_text())
    assert record["training_patients"] == list(CASES)
    assert (place / "reconstruct/reconstruction.png").stat().st_size > 10_000
    # What it learned from must not be trained on with its maps.
    for modality in ("t2w", "hbv"):
        for end in ("pt", "json"):
            (place / f"own/{modality}.{end}").write_bytes((place / f"own/adc.{end}").read_bytes())
    leak = {"generators": place / "leak", "maps_dir": place / "leaking_maps", "scheme": "external"}
    (place / "leak").mkdir()
    (place / "leak/split0").symlink_to(place / "own")
    options = {"dataset_dir": scans, "datalist": place / "mha.json", "output_dir": place / "refused"}
    options |= {"generator_options": small["generator_options"], "model": place / "refused.pt", "val_fold": 1}
    run = run_bundle("training", TRAIN, DEMO, cwd=ROOT, check=False, **leak, **options)
    assert run.returncode == 3
    assert "the t2w map would leak: its generator was trained on this patient" in run.stderr
    assert not (place / "refused.pt").exists()


def test_diffusion_without_guidance_inverts_its_encoding(tmp_path):
    overlay = CONFIGS / "variants/reduced_diffusion.json"
    options = {"output_dir": tmp_path / "maps", "generators": tmp_path / "generators"}
    options |= {"run_dir": tmp_path, "dataset_dir": "$monai_ext.data.phantom('bpmri', num_training=6)"}
    options |= {"reconstruct#max_epochs": 3, "cache_dir": tmp_path / "cache"}
    run_bundle("mapping", MAPS, overlay, cwd=ROOT, **options)
    metrics = json.loads((tmp_path / "maps/report.json").read_text())["metrics"]
    assert metrics["psnr_inversion_hbv_testing"]["n"] == 2
    assert metrics["psnr_inversion_hbv_testing"]["ci_low"] > 35
