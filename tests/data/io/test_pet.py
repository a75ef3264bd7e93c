import nibabel
import numpy as np
import pytest

from monai_ext.data.io import pet
from monai_ext.data.io.pet import read_pet
from monai_ext.errors import DataError

AFFINE = np.diag([4.0, 4.0, 3.0, 1.0])


def save(path, values):
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), AFFINE), path)
    return path


@pytest.mark.parametrize("stacked", [False, True], ids=["PET alone", "CT and PET"])
def test_pet_of_a_file(tmp_path, stacked):
    suv = np.random.default_rng(0).random((5, 6, 7)) * 10
    ct = np.full_like(suv, -1000)
    found = read_pet(save(tmp_path / "a.nii.gz", np.stack([ct, suv], -1) if stacked else suv))
    assert found.shape == (1, 5, 6, 7)
    np.testing.assert_array_equal(found[0].numpy(), suv.astype(np.float32))
    np.testing.assert_array_equal(found.affine.numpy(), AFFINE)
    assert found.meta["filename_or_obj"] == str(tmp_path / "a.nii.gz")


def test_folder_is_a_series_to_convert(tmp_path, monkeypatch):
    monkeypatch.setattr(pet, "read_pet_series", lambda path, case: (path, case))
    assert read_pet(tmp_path, "p1") == (tmp_path, "p1")


def test_missing_file_names_the_case(tmp_path):
    with pytest.raises(DataError, match=r"p1.*a\.nii"):
        read_pet(tmp_path / "a.nii", "p1")
