"""The PET/CT bundle on files as they come: DICOM series, a PET without its CT, scans of CT alone."""

import csv
import json

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from monai.bundle import ConfigParser
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage, generate_uid
from running import ROOT, run_bundle
from scipy import ndimage

from monai_ext.networks.nets import XLSTMUNet

CONFIGS = ROOT / "bundles/autopet_bixlstm/configs"
SMALL = {"spacing": [8, 8, 8], "crop_size": [16, 16, 32], "channels": [4, 8, 16], "strides": [1, 2, 2]}
WEIGHT, DOSE, HALF_LIFE, ELAPSED = 70.0, 350e6, 6586.2, 3600.0
TO_ACTIVITY = DOSE * 0.5 ** (ELAPSED / HALF_LIFE) / (WEIGHT * 1000)  # Bq/ml at SUV 1


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Overlay of a small network, and untrained weights of it."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.json").write_text(json.dumps(SMALL))
    torch.manual_seed(0)
    torch.save(XLSTMUNet(channels=SMALL["channels"], strides=SMALL["strides"]).state_dict(), folder / "model.pt")
    return folder


def infer(small, items, output, check=True, **overrides):
    files = [CONFIGS / "inference.json", small / "small.json"]
    where = {"datalist": repr(items), "output_dir": output, "model": small / "model.pt", "amp": False}
    return run_bundle("inference", *files, cwd=ROOT, check=check, **where, **overrides)


def field(shape, seed):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return noise / noise.std()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """One study as NIfTI in SUV and HU, and as two DICOM series; each modality has a grid of its own."""
    folder = tmp_path_factory.mktemp("study")
    pet, ct = np.abs(field((24, 20, 18), 0)) * 3, np.rint(field((40, 36, 24), 1) * 300 - 200)
    pet_affine = np.diag([-6.0, -6.0, 5.0, 1.0])
    pet_affine[:3, 3] = 70, 60, -300
    ct_affine = np.diag([-3.5, -3.5, 4.0, 1.0])
    ct_affine[:3, 3] = 68, 62, -302
    slopes = np.array([max(float(pet[..., z].max()) * TO_ACTIVITY / 32000, 1e-6) for z in range(pet.shape[2])])
    stored = np.rint(pet * TO_ACTIVITY / slopes).astype(np.int16)
    for name, values, affine in (
        ("pet", (stored * slopes / TO_ACTIVITY).astype(np.float32), pet_affine),
        ("ct", ct.astype(np.float32), ct_affine),
    ):
        nibabel.save(nibabel.Nifti1Image(values, affine), folder / f"case_{name}.nii.gz")
    write_series(folder / "dicom/ct", (ct + 1024).astype(np.int16), ct_affine, "CT", np.full(24, 1.0), -1024)
    write_series(folder / "dicom/pet", stored, pet_affine, "PT", slopes, 0)
    return folder


def write_series(folder, stored, affine, modality, slopes, intercept):
    """A DICOM series of axial slices; a PET has the tags from which SUV is computed."""
    folder.mkdir(parents=True)
    study, series, frame = (generate_uid(entropy_srcs=[str(folder), name]) for name in ("study", "series", "frame"))
    storage = CTImageStorage if modality == "CT" else PositronEmissionTomographyImageStorage
    for z in range(stored.shape[2]):
        slice_ = Dataset()
        slice_.file_meta = FileMetaDataset()
        slice_.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        slice_.file_meta.MediaStorageSOPClassUID = slice_.SOPClassUID = storage
        slice_.SOPInstanceUID = slice_.file_meta.MediaStorageSOPInstanceUID = generate_uid(
            entropy_srcs=[str(folder), str(z)]
        )
        slice_.StudyInstanceUID, slice_.SeriesInstanceUID, slice_.FrameOfReferenceUID = study, series, frame
        slice_.PatientID, slice_.PatientName, slice_.Modality = "p", "p", modality
        slice_.StudyDate = slice_.SeriesDate = slice_.AcquisitionDate = slice_.ContentDate = "20200102"
        slice_.StudyTime = slice_.SeriesTime = slice_.AcquisitionTime = slice_.ContentTime = "100000"
        slice_.SeriesNumber, slice_.InstanceNumber = 1, z + 1
        slice_.Rows, slice_.Columns = stored.shape[1], stored.shape[0]
        slice_.PixelSpacing = [float(abs(affine[1, 1])), float(abs(affine[0, 0]))]
        slice_.SliceThickness = float(affine[2, 2])
        slice_.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        x, y, height = (affine @ [0, 0, z, 1])[:3]
        slice_.ImagePositionPatient = [float(-x), float(-y), float(height)]
        slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
        slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit, slice_.PixelRepresentation = 16, 16, 15, 1
        slice_.RescaleSlope, slice_.RescaleIntercept = float(f"{slopes[z]:.9g}"), intercept
        slice_.PixelData = np.ascontiguousarray(stored[:, :, z].T).tobytes()
        if modality == "PT":
            slice_.Units, slice_.DecayCorrection, slice_.CorrectedImage = "BQML", "START", ["DECY", "ATTN"]
            slice_.PatientWeight = WEIGHT
            tracer = Dataset()
            tracer.RadionuclideTotalDose, tracer.RadionuclideHalfLife = DOSE, HALF_LIFE
            tracer.RadiopharmaceuticalStartTime = "090000"
            slice_.RadiopharmaceuticalInformationSequence = Sequence([tracer])
        pydicom.dcmwrite(folder / f"{z:03d}.dcm", slice_, enforce_file_format=True)


def load(folder, kind, case="case"):
    return nibabel.load(folder / case / f"{case}_{kind}.nii.gz")


@pytest.mark.slow
def test_two_dicom_series_give_what_nifti_gives(study, small, tmp_path):
    infer(small, [{"id": "case", "pet": str(study / "case_pet.nii.gz")}], tmp_path / "nifti")
    series = {"id": "case", "pet": str(study / "dicom/pet"), "ct": str(study / "dicom/ct")}
    infer(small, [series], tmp_path / "dicom")
    maps = [load(tmp_path / form, "probability") for form in ("nifti", "dicom")]
    one, other = (nibabel.as_closest_canonical(image) for image in maps)
    np.testing.assert_allclose(one.affine, other.affine, atol=1e-3)
    assert np.ptp(one.get_fdata()) > 0.01
    np.testing.assert_allclose(one.get_fdata(), other.get_fdata(), atol=1e-3)
    reports = [json.loads((tmp_path / form / "case/case_lesions.json").read_text()) for form in ("nifti", "dicom")]
    assert reports[0]["lesion_count"] == reports[1]["lesion_count"]
    assert reports[0]["suv_max"] == pytest.approx(reports[1]["suv_max"], rel=1e-3)
    assert reports[0]["tlg_ml"] == pytest.approx(reports[1]["tlg_ml"], rel=2e-2)


@pytest.mark.slow
def test_everything_that_inference_writes(study, small, tmp_path):
    weights = [str(small / "model.pt")] * 2
    item = {"pet": str(study / "case_pet.nii.gz")}
    infer(small, [item], tmp_path, ensemble=repr(weights), mirror="[0]")
    pet, ct = (nibabel.load(study / f"case_{name}.nii.gz") for name in ("pet", "ct"))
    for kind, grid in (("seg", pet), ("probability", pet), ("seg_ct", ct)):
        found = load(tmp_path, kind)
        assert found.shape == grid.shape
        np.testing.assert_allclose(found.affine, grid.affine, atol=1e-4)
    mask = np.asarray(load(tmp_path, "seg").dataobj)
    assert set(np.unique(mask)) <= {0, 1}
    np.testing.assert_array_equal(mask, np.asarray(load(tmp_path, "probability").dataobj) > 0.5)
    report = json.loads((tmp_path / "case/case_lesions.json").read_text())
    assert report["lesion_count"] == ndimage.label(mask, ndimage.generate_binary_structure(3, 2))[1]
    suv = np.asarray(pet.dataobj)
    if mask.any():
        assert report["suv_max"] == pytest.approx(suv[mask > 0].max(), rel=1e-5)
        assert report["tlg_ml"] == pytest.approx(suv[mask > 0].sum() * 6 * 6 * 5 / 1000, rel=1e-5)
    with open(tmp_path / "lesions.csv", newline="") as file:
        assert [row["case"] for row in csv.DictReader(file)] == ["case"]
    assert (tmp_path / "preview/case.png").stat().st_size > 10_000


def test_the_threshold_keeps_its_scale_under_a_plan(study, tmp_path):
    """A plan scales the PET by the data; the row's threshold is in SUV all the same."""
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"scales": {"pet": [0, 9, 1.2, 0.5, True]}, "spacing": None}))
    config = ConfigParser()
    config.read_config([CONFIGS / "train.json", plan, CONFIGS / "variants/suv_threshold.json"])
    item = {key: str(study / f"case_{key}.nii.gz") for key in ("pet", "ct")} | {"id": "case"}
    config["preprocessing#with_label"] = False
    image = config.get_parsed_content("preprocessing")(item)["image"].as_tensor()
    suv = config.get_parsed_content("network_def").suv(image[None])[0, 0]
    expected = nibabel.as_closest_canonical(nibabel.load(item["pet"])).get_fdata()
    assert suv.numpy() == pytest.approx(expected.clip(1.044, 51.6), abs=1e-3)


@pytest.mark.slow
def test_ct_scans_without_pet_join_the_pretraining(study, tmp_path):
    (tmp_path / "ct").mkdir()
    (tmp_path / "ct/p_BL.nii.gz").write_bytes((study / "case_ct.nii.gz").read_bytes())
    (tmp_path / "ct/datalist.json").write_text(json.dumps({"unlabelled": [{"id": "p", "ct": "p_BL.nii.gz"}]}))
    files = [CONFIGS / "pretrain.json", tmp_path / "small.json"]
    steps = {"max_epochs": 1, "iterations": 2, "patch_size": 8, "crop_size": [16, 16, 16]}
    files[1].write_text(json.dumps({**SMALL, **steps}))
    where = {"output_dir": tmp_path / "out", "pretrained": tmp_path / "p.pt", "cache_dir": tmp_path / "cache"}
    run_bundle("pretraining", *files, cwd=ROOT, ct_dataset_dir=tmp_path / "ct", **where)
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["ct_scans"] == 1
    assert report["data"]["train"]["cases"] == report["petct_scans"] + 1
    assert (tmp_path / "p.pt").is_file()
    assert (tmp_path / "out/reconstruction.png").stat().st_size > 10_000


@pytest.fixture
def whole_body(real_data):
    """The uncropped PET of one patient of Soft-tissue-Sarcoma; its CT is not there."""
    return real_data("sts_petct/wholebody_STS_001")


@pytest.mark.slow
def test_real_pet_without_ct_is_refused_or_segmented_alone(whole_body, small, tmp_path):
    items = [{"pet": str(whole_body / "SUV.nii.gz")}]
    refused = infer(small, items, tmp_path / "refused", check=False)
    assert refused.returncode == 3, refused.stderr
    assert "case wholebody_STS_001" in refused.stderr
    assert "ct is missing; looked for CTres.nii.gz" in refused.stderr
    assert "allow_missing" in refused.stderr
    assert not list((tmp_path / "refused").rglob("*.nii.gz"))
    infer(small, items, tmp_path / "alone", **{"preprocessing#allow_missing": "['ct']"})
    mask, pet = load(tmp_path / "alone", "seg", "wholebody_STS_001"), nibabel.load(items[0]["pet"])
    assert mask.shape == pet.shape
    np.testing.assert_allclose(mask.affine, pet.affine, atol=1e-4)
    assert not (tmp_path / "alone/wholebody_STS_001/wholebody_STS_001_seg_ct.nii.gz").exists()
    report = json.loads((tmp_path / "alone/wholebody_STS_001/wholebody_STS_001_lesions.json").read_text())
    suv, found = np.asarray(pet.dataobj), np.asarray(mask.dataobj) > 0
    assert report["volume_ml"] == pytest.approx(found.sum() * np.prod(pet.header.get_zooms()) / 1000, rel=1e-4)
    if found.any():
        assert report["suv_max"] == pytest.approx(suv[found].max(), rel=1e-5)


@pytest.mark.slow
def test_scores_after_each_number_of_clicks(small, tmp_path):
    """The command of the README, on untrained weights of a small network with clicks."""
    torch.manual_seed(0)
    network = XLSTMUNet(in_channels=4, channels=SMALL["channels"], strides=SMALL["strides"])
    torch.save(network.state_dict(), tmp_path / "model.pt")
    files = [CONFIGS / name for name in ("evaluate.json", "variants/clicks.json", "click_steps.json")]
    where = {"model": tmp_path / "model.pt", "cache_dir": tmp_path / "cache", "output_dir": tmp_path / "o"}
    run_bundle("evaluating", *files, small / "small.json", cwd=ROOT, max_clicks=2, **where)
    with open(tmp_path / "o/cases.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len({row["case"] for row in rows}) > 1
    scores = [f"{score}_{number}" for score in ("dice", "fnv_ml", "fpv_ml") for number in range(3)]
    assert list(rows[0]) == ["case", "patient", *scores]
    assert any(row["fpv_ml_0"] != row["fpv_ml_2"] or row["dice_0"] != row["dice_2"] for row in rows)
    assert (tmp_path / "o/clicks.png").stat().st_size > 10_000
    assert "worst Dice 0 first" in (tmp_path / "o/report.html").read_text()
