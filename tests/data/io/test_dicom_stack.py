import shutil

import pytest
import torch

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
