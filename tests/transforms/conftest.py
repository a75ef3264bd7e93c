"""Tiny scans on disk: three modalities on two grids, gland, lesion; and the way to the real ones."""

import nibabel
import numpy as np
import pytest

T2W_AFFINE = np.array([[-0.5, 0, 0, 20.0], [0, -0.5, 0.1, 12.0], [0, 0.05, 3.0, -30.0], [0, 0, 0, 1]])
DWI_AFFINE = np.array([[-1.0, 0, 0, 19.0], [0, -1.0, 0.1, 11.5], [0, 0.05, 3.0, -28.0], [0, 0, 0, 1]])


def write(path, array, affine=T2W_AFFINE):
    image = nibabel.Nifti1Image(array, affine)
    image.set_sform(affine, 1)
    nibabel.save(image, path)
    return str(path)


@pytest.fixture
def save():
    return write


@pytest.fixture
def study(tmp_path):
    """Files of one study; the lesion is a box inside the gland."""
    rng = np.random.default_rng(0)
    gland = np.zeros((80, 72, 12), np.uint8)
    gland[24:56, 20:50, 2:10] = 1
    lesion = np.zeros_like(gland)
    lesion[30:38, 26:34, 4:7] = 1
    return {
        "id": "case",
        "t2w": write(tmp_path / "case_t2w.nii.gz", rng.normal(300, 50, gland.shape).astype(np.float32)),
        "adc": write(tmp_path / "case_adc.nii.gz", rng.normal(1300, 200, (40, 36, 12)).astype(np.float32), DWI_AFFINE),
        "hbv": write(tmp_path / "case_hbv.nii.gz", rng.normal(60, 9, (40, 36, 12)).astype(np.float32), DWI_AFFINE),
        "gland": write(tmp_path / "case_gland.nii.gz", gland),
        "label": write(tmp_path / "case_label.nii.gz", lesion),
    }


@pytest.fixture
def real(real_data):
    """The two PROSTATEx patients; skips where they are not."""
    return real_data("prostatex_bpmri")
