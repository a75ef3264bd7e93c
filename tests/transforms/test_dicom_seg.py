"""DICOM-SEG, read back by highdicom and pydicom, and placed where ITK places the source."""

import json
import shutil

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_ext.data.io.volume import read_volume
from monai_ext.errors import DataError
from monai_ext.transforms import SaveDicomSegd
from monai_ext.transforms.dicom_seg import dicom_seg, read_series

highdicom = pytest.importorskip("highdicom")
pydicom = pytest.importorskip("pydicom")

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset  # noqa: E402
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid  # noqa: E402

SERIES = {
    "ProstateX T2W": "prostatex_bpmri/ProstateX-0000/dicom/t2w",
    "ProstateX ADC": "prostatex_bpmri/ProstateX-0001/dicom/adc",
    "CT": "ct_multiorgan/example_ct_dicom",
}


def oblique(tilt):
    """Row and column directions of a slice turned about two axes."""
    a, b = np.radians(tilt), np.radians(tilt / 2)
    turn = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turn = turn @ np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    return turn[:, 0], turn[:, 1], turn[:, 2]


def write_series(folder, tilt=20.0, shape=(6, 20, 24), spacing=(3.0, 0.7, 0.9), step=1):
    """A small oblique MR series; ``step`` -1 numbers its slices from the head down."""
    folder.mkdir(parents=True, exist_ok=True)
    row, column, normal = oblique(tilt)
    series, study, frame = generate_uid(), generate_uid(), generate_uid()
    for k in range(shape[0]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image = FileDataset(str(folder / f"{k:03}.dcm"), Dataset(), file_meta=meta, preamble=b"\0" * 128)
        image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
        image.PatientID, image.PatientName, image.StudyID, image.AccessionNumber = "p", "p", "1", ""
        image.PatientBirthDate, image.PatientSex, image.ReferringPhysicianName = "", "", ""
        image.StudyDate, image.StudyTime, image.SeriesDate = "20260101", "120000", "20260101"
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, frame
        image.Modality, image.SeriesNumber, image.InstanceNumber = "MR", 1, k + 1
        image.PositionReferenceIndicator = ""
        image.Rows, image.Columns = shape[1:]
        image.PixelSpacing, image.SliceThickness = [spacing[1], spacing[2]], spacing[0]
        image.ImageOrientationPatient = [float(f"{v:.12g}") for v in (*row, *column)]
        place = np.array([-12.0, 7.0, 30.0]) + step * k * spacing[0] * normal
        image.ImagePositionPatient = [float(f"{v:.12g}") for v in place]
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
        rng = np.random.default_rng(k)
        image.PixelData = rng.integers(0, 1000, shape[1:]).astype(np.uint16).tobytes()
        image.save_as(folder / f"{k:03}.dcm", enforce_file_format=True)
    return folder


@pytest.fixture(params=["oblique", "from the head down", *SERIES])
def series(request, tmp_path, real_data):
    if request.param in SERIES:
        return real_data(SERIES[request.param])
    return write_series(tmp_path / "series", step=1 if request.param == "oblique" else -1)


def blobs(shape, count=2):
    """A label map of lopsided blobs: no flip or transposition leaves it as it is."""
    mask = np.zeros(shape, np.uint8)
    for label in range(1, count + 1):
        corner = [size * (label + 1) // (count + 4) for size in shape]
        mask[corner[0] : corner[0] + 5, corner[1] : corner[1] + 3, corner[2] : corner[2] + 2] = label
        mask[corner[0], corner[1], corner[2]] = 0
    return mask


def physical(mask, affine, label):
    """Centres of a label's voxels in mm, sorted."""
    points = np.argwhere(mask == label) @ np.asarray(affine)[:3, :3].T + np.asarray(affine)[:3, 3]
    return points[np.lexsort(points.round(2).T)]


def test_segments_lie_where_they_were_drawn(series, tmp_path):
    image = read_volume(series)
    mask = blobs(image.shape[1:])
    source = read_series(series)
    found = dicom_seg(mask, image.affine.numpy(), source, {1: "lesion", 2: "left kidney"}, "method", "1.2.3")
    found.save_as(tmp_path / "seg.dcm")

    # by pydicom alone: each frame's position, orientation and spacing place its pixels
    plain = pydicom.dcmread(tmp_path / "seg.dcm")
    assert plain.SOPClassUID == pydicom.uid.SegmentationStorage
    assert plain.FrameOfReferenceUID == source[0].FrameOfReferenceUID
    assert plain.StudyInstanceUID == source[0].StudyInstanceUID
    shared = plain.SharedFunctionalGroupsSequence[0]
    direction = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    spacing = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, float)
    points = {1: [], 2: []}
    used = set()
    for frame, group in zip(plain.pixel_array, plain.PerFrameFunctionalGroupsSequence):
        label = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        place = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        for r, c in np.argwhere(frame):
            points[label].append(place + direction[:3] * c * spacing[1] + direction[3:] * r * spacing[0])
        used |= {s.ReferencedSOPInstanceUID for d in group.DerivationImageSequence for s in d.SourceImageSequence}
    for label, found_points in points.items():
        ras = np.array(found_points) * [-1, -1, 1]
        ras = ras[np.lexsort(ras.round(2).T)]
        expected = physical(mask, image.affine.numpy(), label)
        assert ras.shape == expected.shape
        # as sets, since rounding may order equal coordinates differently
        assert np.abs(ras[:, None] - expected[None]).sum(-1).min(1).max() < 1e-2
    assert used <= {image.SOPInstanceUID for image in source}
    assert used

    # by highdicom: what was drawn comes back on the source's own slices
    read = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert [s.segment_label for s in (read.get_segment_description(n) for n in (1, 2))] == ["lesion", "left kidney"]
    described = read.get_segment_description(1)
    assert described.segmented_property_type.meaning == "Lesion"
    assert described.algorithm_identification[0].AlgorithmName == "method"
    assert described.algorithm_identification[0].AlgorithmVersion == "1.2.3"
    volume = read.get_volume(combine_segments=True)
    assert (volume.array > 0).sum() == (mask > 0).sum()
    grid = highdicom.get_volume_from_series(source).get_geometry()
    assert np.allclose(volume.direction, grid.direction, atol=1e-6)
    assert np.allclose(volume.spacing, grid.spacing, atol=1e-3)


def test_an_empty_mask_is_a_segment_without_voxels(tmp_path):
    folder = write_series(tmp_path / "series")
    image = read_volume(folder)
    empty = dicom_seg(
        np.zeros(image.shape[1:], int), image.affine.numpy(), read_series(folder), {1: "lesion"}, "m", "1"
    )
    assert empty.pixel_array.sum() == 0
    assert empty.get_segment_description(1).segment_label == "lesion"


def test_label_values_with_gaps_become_numbers_without(tmp_path):
    folder = write_series(tmp_path / "series")
    image = read_volume(folder)
    mask = np.zeros(image.shape[1:], int)
    mask[2:4, 3, 1] = 7
    found = dicom_seg(mask, image.affine.numpy(), read_series(folder), {3: "liver", 7: "spleen"}, "m", "1")
    assert found.get_segment_description(2).segment_label == "spleen"
    assert found.get_segment_description(2).segmented_property_type.value == "78961009"  # SNOMED CT: spleen
    assert (
        found.get_pixels_by_source_instance([s.SOPInstanceUID for s in read_series(folder)], segment_numbers=[2]).sum()
        == 2
    )


def test_what_cannot_be_placed_is_refused(tmp_path):
    folder = write_series(tmp_path / "series")
    image = read_volume(folder)
    affine, source = image.affine.numpy(), read_series(folder)
    shifted = affine.copy()
    shifted[:3, 3] += 0.4
    with pytest.raises(DataError, match="does not lie on the grid"):
        dicom_seg(blobs(image.shape[1:], 1), shifted, source, {1: "lesion"}, "m", "1")
    with pytest.raises(DataError, match=r"holds \[2\]"):
        dicom_seg(blobs(image.shape[1:], 2), affine, source, {1: "lesion"}, "m", "1")


def test_mixed_series_are_refused(tmp_path):
    folder = write_series(tmp_path / "a")
    for path in write_series(tmp_path / "b", tilt=0).iterdir():
        shutil.copy(path, folder / f"other_{path.name}")
    with pytest.raises(DataError, match="2 DICOM series"):
        read_series(folder)


def test_transform_names_segments_after_the_bundle(tmp_path):
    folder = write_series(tmp_path / "series")
    outputs = {"pred": {"channel_def": {"0": "background", "1": "lesion"}}}
    metadata = {"name": "A bundle", "version": "0.3.0", "network_data_format": {"outputs": outputs}}
    (tmp_path / "bundle/configs").mkdir(parents=True)
    (tmp_path / "bundle/configs/metadata.json").write_text(json.dumps(metadata))
    image = read_volume(folder)
    mask = MetaTensor(torch.from_numpy(blobs(image.shape[1:], 1))[None].float(), affine=image.affine)
    save = SaveDicomSegd("pred", tmp_path / "bundle", tmp_path / "out")
    save({"pred": mask, "image": image, "id": "case"})
    read = highdicom.seg.segread(tmp_path / "out/case/case_seg.dcm")
    assert read.get_segment_description(1).algorithm_identification[0].AlgorithmName == "A bundle"
    image.meta["filename_or_obj"] = str(tmp_path / "scan.nii.gz")
    save({"pred": mask, "image": image, "id": "nifti"})
    assert not (tmp_path / "out/nifti").exists()


def test_tags_of_patient_and_study_that_anonymizers_remove(tmp_path):
    folder = write_series(tmp_path / "series")
    for path in folder.iterdir():
        image = pydicom.dcmread(path)
        for keyword in ("PatientName", "PatientBirthDate", "PatientSex", "StudyTime", "StudyID", "AccessionNumber"):
            del image[keyword]
        image.save_as(path)
    volume = read_volume(folder)
    found = dicom_seg(blobs(volume.shape[1:]), volume.affine.numpy(), read_series(folder), {1: "a", 2: "b"}, "m", "1")
    assert not any((found.PatientName, found.PatientBirthDate, found.PatientSex, found.StudyTime))
    assert found.StudyInstanceUID == read_series(folder)[0].StudyInstanceUID
