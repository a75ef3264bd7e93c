"""DICOM series written from images, one file per slice, for tests of what hospitals export."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_dicom_series(image, folder, patient, modality, description, name=None, study=None, **tags):
    """A NIfTI image (or its path) as a series; ``name(z)`` are the names of the files, ``tags`` what else they say.

    All series of one patient are of one study and one frame of reference unless ``study`` says otherwise. Axes of the
    image that no DICOM series can have (left-handed ones) are refused.
    """
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    if isinstance(image, str | Path):
        image = nib.load(image)
    image = nib.as_closest_canonical(image)
    values = np.asarray(image.dataobj)[::-1, ::-1].astype(float)  # DICOM's axes run to the left and back
    affine = image.affine @ np.array([[-1, 0, 0, values.shape[0] - 1], [0, -1, 0, values.shape[1] - 1], *np.eye(4)[2:]])
    affine = RAS_TO_LPS @ affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    slope = max(np.abs(values).max() / 32000, 1e-6)
    if np.array_equal(values, np.rint(values)) and np.abs(values).max() < 32000:
        slope = 1.0
    kind = {"PT": "1.2.840.10008.5.1.4.1.1.128", "CT": "1.2.840.10008.5.1.4.1.1.2"}.get(modality)
    kind = kind or "1.2.840.10008.5.1.4.1.1.4"
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    study = study or f"study of {patient}"
    series = generate_uid(entropy_srcs=[study, modality, description])
    for z in range(values.shape[2]):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, kind
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[series, str(z)])
        file = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        file.SOPClassUID, file.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
        file.PatientID, file.PatientName, file.StudyDate = patient, f"{patient}^", "20240229"
        file.StudyInstanceUID = generate_uid(entropy_srcs=[study])
        file.FrameOfReferenceUID = generate_uid(entropy_srcs=[study, "frame"])
        file.SeriesInstanceUID, file.SeriesDescription, file.Modality = series, description, modality
        file.ImageType, file.InstanceNumber = ["ORIGINAL", "PRIMARY", "M"], z + 1
        file.Rows, file.Columns = values.shape[1], values.shape[0]
        file.ImagePositionPatient = [round(float(p), 4) for p in (affine @ [0, 0, z, 1])[:3]]
        file.ImageOrientationPatient = [*(affine[:3, 0] / spacing[0]), *(affine[:3, 1] / spacing[1])]
        file.PixelSpacing, file.SliceThickness = [float(spacing[1]), float(spacing[0])], float(spacing[2])
        file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
        file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 1
        file.RescaleSlope, file.RescaleIntercept = float(f"{slope:.10g}"), 0
        if modality == "PT":
            file.Units, file.CorrectedImage = "GML", ["ATTN", "DECY"]
        for keyword, value in tags.items():
            setattr(file, keyword, value)
        file.PixelData = np.rint(values[:, :, z].T / slope).astype("<i2").tobytes()
        path = folder / (f"{z:03d}.dcm" if name is None else name(z))
        pydicom.dcmwrite(path, file)
    return folder
