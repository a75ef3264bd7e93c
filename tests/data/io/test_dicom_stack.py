import shutil

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from dicom_files import write_dicom_series

from monai_ext.data.io.volume import read_volume
from monai_ext.errors import DataError


@pytest.mark.parametrize("modality", ["t2w", "adc", "hbv"])
def test_dicom_equals_mha(real_data, modality):
    real = real_data("prostatex_bpmri")
    for case in ("ProstateX-0000", "ProstateX-0001"):
        mha, dicom = (read_volume(real / case / name) for name in (f"{case}_{modality}.mha", f"dicom/{modality}"))
        torch.testing.assert_close(mha.affine, dicom.affine, atol=1e-4, rtol=0)
        assert torch.equal(mha.as_tensor(), dicom.as_tensor())


def test_mixed_and_gapped_series_are_refused(real_data, tmp_path):
    source = real_data("prostatex_bpmri") / "ProstateX-0000" / "dicom"
    for modality in ("adc", "hbv"):
        for file in (source / modality).iterdir():
            shutil.copy(file, tmp_path / f"{modality}_{file.name}")
    with pytest.raises(DataError, match=r"2 DICOM series: [\d.]+, [\d.]+"):
        read_volume(tmp_path)
    gapped = tmp_path / "gapped"
    shutil.copytree(source / "t2w", gapped)
    next(iter(sorted(gapped.iterdir())[9:])).unlink()
    with pytest.raises(DataError, match="mm apart"):
        read_volume(gapped)


def test_a_series_in_colours_is_refused(tmp_path):
    """A screenshot of a viewer, such as a fused PET/CT."""
    write_dicom_series(nib.Nifti1Image(np.ones((6, 5, 4), np.int16), np.eye(4)), tmp_path, "p1", "CT", "fused")
    read_volume(tmp_path)
    for path in tmp_path.iterdir():
        file = pydicom.dcmread(path)
        file.SamplesPerPixel, file.PhotometricInterpretation, file.PlanarConfiguration = 3, "RGB", 0
        file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 8, 8, 7, 0
        file.PixelData = bytes(6 * 5 * 3)
        file.save_as(path)
    with pytest.raises(DataError, match="its voxels are rgb, not numbers"):
        read_volume(tmp_path, "p1")
