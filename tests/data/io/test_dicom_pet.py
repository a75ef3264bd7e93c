"""DICOM series written here: PET comes out in SUV, CT in HU, on the right grid; missing tags are named."""

import numpy as np
import pytest
import torch

pydicom = pytest.importorskip("pydicom")

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset  # noqa: E402
from pydicom.uid import (  # noqa: E402
    CTImageStorage,
    ExplicitVRLittleEndian,
    PositronEmissionTomographyImageStorage,
    generate_uid,
)

from monai_ext.data.io.dicom_pet import series_scales  # noqa: E402
from monai_ext.data.io.pet import read_pet  # noqa: E402
from monai_ext.errors import DataError  # noqa: E402
from monai_ext.transforms import LoadVolumed, PETCTPreprocessing  # noqa: E402

SHAPE, SPACING, ORIGIN = (6, 5, 4), (4.0, 3.0, 5.0), (-20.0, -110.0, 300.0)  # x, y, z; mm; LPS
F18 = 6586.2  # s
WEIGHT, DOSE = 82.5, 287e6  # kg, Bq


def write_series(folder, values, modality="PT", slopes=None, intercept=0.0, decay="START", order=None, **tags):
    """``values`` [X, Y, Z] as one DICOM file per slice, stored as 16-bit integers with a slope per slice."""
    folder.mkdir(parents=True, exist_ok=True)
    series = generate_uid(entropy_srcs=[str(folder)])
    kind = PositronEmissionTomographyImageStorage if modality == "PT" else CTImageStorage
    for z in range(values.shape[2]):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, kind
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(folder), str(z)])
        slope = 1.0 if slopes is None else slopes[z]
        image = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        image.SOPClassUID, image.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
        image.StudyInstanceUID = image.SeriesInstanceUID = image.FrameOfReferenceUID = series
        image.Modality, image.SeriesDate, image.SeriesTime = modality, "20240229", "100000"
        image.AcquisitionDate, image.AcquisitionTime = "20240229", f"10{z:02d}30.500000"  # a minute per slice
        image.Rows, image.Columns = values.shape[1], values.shape[0]
        image.ImagePositionPatient = [ORIGIN[0], ORIGIN[1], ORIGIN[2] + z * SPACING[2]]
        image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        image.PixelSpacing, image.SliceThickness = [SPACING[1], SPACING[0]], SPACING[2]
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
        image.RescaleSlope, image.RescaleIntercept, image.InstanceNumber = slope, intercept, z + 1
        stored = np.rint((values[:, :, z].T - intercept) / slope).astype("<i2")
        image.PixelData = stored.tobytes()
        if modality == "PT":
            image.Units, image.DecayCorrection, image.PatientWeight = "BQML", decay, WEIGHT
            image.CorrectedImage = ["ATTN", "DECY"]
            dose = Dataset()
            dose.RadionuclideTotalDose, dose.RadionuclideHalfLife = DOSE, F18
            dose.RadiopharmaceuticalStartTime = "090000"
            image.RadiopharmaceuticalInformationSequence = [dose]
        for keyword, value in tags.items():
            target = image.RadiopharmaceuticalInformationSequence[0] if hasattr(Dose, keyword) else image
            if value is None:
                del target[keyword]
            else:
                setattr(target, keyword, value)
        name = f"{(order or range(99))[z]:02d}.dcm"
        image.save_as(folder / name, enforce_file_format=True)
    return folder


class Dose:
    """Keywords of the nested item."""

    RadionuclideTotalDose = RadionuclideHalfLife = None
    RadiopharmaceuticalStartTime = RadiopharmaceuticalStartDateTime = None


@pytest.fixture
def suv():
    """Uptake of the patient: SUV in [0, 12]."""
    return np.random.default_rng(0).uniform(0, 12, SHAPE)


def activity(suv, decay, seconds=3600.0):
    """Bq/ml that a scanner reports: the injected dose decays until the scan, or until each slice."""
    at_injection = suv * DOSE / (WEIGHT * 1000)
    after = {"ADMIN": np.zeros(4), "START": np.full(4, seconds), "NONE": seconds + 30.5 + 60 * np.arange(4)}[decay]
    return at_injection * np.exp(-np.log(2) * after / F18)


def slopes_for(values):
    """A slope per slice that uses the range of 16 bits, as scanners choose it."""
    return values.max((0, 1)) / 30000


@pytest.mark.parametrize("decay", ["START", "NONE", "ADMIN"])
def test_suv_by_physics_with_a_slope_per_slice(tmp_path, suv, decay):
    values = activity(suv, decay)
    folder = write_series(tmp_path / "pet", values, slopes=slopes_for(values), decay=decay, order=[3, 0, 2, 1])
    pet = read_pet(folder, "case")
    assert pet.dtype == torch.float32
    assert pet.shape == (1, *SHAPE)
    # Place each voxel by the affine (RAS) and compare with what was put there (LPS).
    i, j, k = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    world = np.stack([ORIGIN[a] + SPACING[a] * index for a, index in enumerate((i, j, k))], -1) * (-1, -1, 1)
    index = np.rint((world - pet.affine[:3, 3].numpy()) @ np.linalg.inv(pet.affine[:3, :3].numpy()).T).astype(int)
    np.testing.assert_allclose(pet[0].numpy()[tuple(index.transpose(3, 0, 1, 2))], suv, atol=12 / 30000)


def test_a_first_slice_with_a_whole_slope_does_not_round_the_others(tmp_path):
    """An empty first slice gets the slope 1, by which ITK takes all slices for integers."""
    suv = np.zeros(SHAPE)
    suv[:, :, 1:] = np.linspace(1e-4, 2e-4, 90).reshape(6, 5, 3)  # less than 1 Bq/ml
    values = activity(suv, "START")
    slopes = np.maximum(slopes_for(values), 1e-9)
    slopes[0] = 1.0
    pet = read_pet(write_series(tmp_path / "pet", values, slopes=slopes))
    np.testing.assert_allclose(np.sort(pet.numpy().ravel()), np.sort(suv.ravel()), atol=1e-8)


def test_an_injection_with_its_date_before_midnight(tmp_path, suv):
    values = activity(suv, "START", 11 * 3600.0)
    slopes = slopes_for(values)
    tags = {"RadiopharmaceuticalStartDateTime": "20240228230000.000000+0100"}
    pet = read_pet(write_series(tmp_path / "pet", values, slopes=slopes, **tags))
    assert float(pet.max()) == pytest.approx(suv.max(), rel=1e-3)


def test_a_series_made_after_the_scan_is_dated_by_its_acquisition(tmp_path, suv):
    values = activity(suv, "START", 3630.5)
    folder = write_series(tmp_path / "pet", values, slopes=slopes_for(values), SeriesTime="150000")
    with pytest.warns(UserWarning, match="newer than its acquisition"):
        pet = read_pet(folder)
    assert float(pet.max()) == pytest.approx(suv.max(), rel=1e-3)


def test_series_in_suv_and_in_counts_with_a_factor(tmp_path, suv):
    tags = {"Units": "GML", "PatientWeight": None, "DecayCorrection": None}
    pet = read_pet(write_series(tmp_path / "gml", suv, slopes=slopes_for(suv), **tags))
    assert float(pet.max()) == pytest.approx(suv.max(), rel=1e-3)
    folder = write_series(tmp_path / "counts", suv / 2.5, slopes=slopes_for(suv / 2.5), Units="CNTS")
    with pytest.raises(DataError, match="CNTS"):
        read_pet(folder)
    for path in folder.iterdir():
        image = pydicom.dcmread(path)
        image.add_new((0x7053, 0x0010), "LO", "Philips PET Private Group")
        image.add_new((0x7053, 0x1000), "DS", "2.5")
        image.save_as(path)
    assert float(read_pet(folder).max()) == pytest.approx(suv.max(), rel=1e-3)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"PatientWeight": None}, "patient's weight is missing"),
        ({"PatientWeight": 82500}, "weight of 82500 kg is not plausible"),
        ({"RadionuclideTotalDose": None}, "injected dose is missing"),
        ({"RadionuclideTotalDose": 287}, "dose of 287 Bq is not plausible"),
        ({"RadionuclideHalfLife": None}, "half-life is missing"),
        ({"RadiopharmaceuticalStartTime": None}, "time from injection to scan is None"),
        ({"RadiopharmaceuticalStartTime": "113000"}, "time from injection to scan is -5400"),
        ({"RadiopharmaceuticalStartDateTime": "20190101090000"}, "h before the scan.*shift dates"),
        ({"RadiopharmaceuticalStartTime": "morning"}, "no date and time"),
        ({"RadiopharmaceuticalInformationSequence": []}, r"\(0054,0016\) has 0 items"),
        ({"Units": None}, "units None"),
        ({"DecayCorrection": None}, "decay correction None"),
        ({"Units": "GML", "SUVType": "LBM"}, "by LBM, not by body weight"),
        ({"Modality": "CT"}, "the series is CT, not PET"),
        ({"RescaleSlope": None}, "no RescaleSlope"),
    ],
)
@pytest.mark.row(31)
@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_what_is_missing_is_named_with_case_and_folder(tmp_path, suv, tags, message):
    values = activity(suv, "START")
    folder = write_series(tmp_path / "pet", values, slopes=slopes_for(values), **tags)
    with pytest.raises(DataError, match=f"(?s)case 7: {folder}.*{message}"):
        read_pet(folder, "7")


def test_uncorrected_attenuation_warns(tmp_path, suv):
    values = activity(suv, "START")
    folder = write_series(tmp_path / "pet", values, slopes=slopes_for(values), CorrectedImage=["DECY"])
    with pytest.warns(UserWarning, match="attenuation"):
        read_pet(folder)


def test_slices_that_differ_in_units(tmp_path, suv):
    folder = write_series(tmp_path / "pet", suv, slopes=slopes_for(suv))
    images = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    images[2].Units = "GML"
    with pytest.raises(DataError, match="differ in Units"):
        series_scales(images)


def test_a_ct_series_is_in_hu_on_the_place_of_the_pet(tmp_path, suv):
    hu = np.random.default_rng(1).integers(-1000, 1500, SHAPE).astype(float)
    folder = write_series(tmp_path / "ct", hu, modality="CT", intercept=-1024.0)
    ct = LoadVolumed("ct")({"ct": str(folder), "id": "7"})["ct"]
    pet = read_pet(write_series(tmp_path / "pet", suv, slopes=slopes_for(suv)))
    torch.testing.assert_close(ct.affine, pet.affine)
    assert sorted(ct.numpy().ravel()) == sorted(hu.ravel())
    # The first voxel of the first file lies at the DICOM origin; x and y change sign in RAS.
    at = np.linalg.solve(ct.affine.numpy(), [-ORIGIN[0], -ORIGIN[1], ORIGIN[2], 1])[:3]
    assert float(ct[(0, *np.rint(at).astype(int))]) == hu[0, 0, 0]


def test_two_series_side_by_side_are_a_study(tmp_path, suv):
    """CT is found beside PET; both come out normalised on the grid of the PET."""
    hu = np.random.default_rng(1).integers(-700, 1000, SHAPE).astype(float)
    write_series(tmp_path / "ct", hu, modality="CT", intercept=-1024.0)
    values = activity(suv, "START")
    folder = write_series(tmp_path / "pet", values, slopes=slopes_for(values))
    image = PETCTPreprocessing(spacing=None, with_label=False)({"pet": str(folder)})["image"]
    expected = {0: (hu - 107.78) / 286.17, 1: (suv.clip(1.044, 51.60) - 7.09) / 8.01}
    assert image.shape == (2, *SHAPE)
    found = sorted(np.sort(channel.numpy().ravel()).tolist() for channel in image)
    wanted = sorted(np.sort(array.ravel()).tolist() for array in expected.values())
    np.testing.assert_allclose(found, wanted, atol=1e-3)
