"""A volume has the values and the place that nibabel and ITK give it; what cannot be read says why."""

import itk
import nibabel
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from monai_ext.data.io.volume import check_affine, read_volume
from monai_ext.errors import DataError

SHAPE = (4, 6, 5)
AFFINE = np.eye(4)
AFFINE[:3, :3] = Rotation.from_euler("xyz", (15, -8, 32), degrees=True).as_matrix() * [0.5, 0.7, 3.0]
AFFINE[:3, 3] = 10, -20, 30


def values(shape=SHAPE):
    return np.random.default_rng(0).integers(-900, 900, shape).astype(np.int16)


def save_itk(path):
    image = itk.image_from_array(values().T.copy())
    lps = np.diag([-1.0, -1, 1, 1]) @ AFFINE
    spacing = np.linalg.norm(AFFINE[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection(itk.matrix_from_array((lps[:3, :3] / spacing).copy()))
    itk.imwrite(image, str(path))


def test_a_nifti_is_what_nibabel_reads(tmp_path):
    path = tmp_path / "a.nii.gz"
    nibabel.save(nibabel.Nifti1Image(values(), AFFINE), path)
    volume = read_volume(path)
    assert volume.dtype == torch.float32
    np.testing.assert_array_equal(volume[0].numpy(), values())
    np.testing.assert_allclose(volume.affine.numpy(), AFFINE, atol=1e-6)
    assert set(volume.meta) >= {"original_affine", "spatial_shape", "filename_or_obj"}
    assert volume.meta["filename_or_obj"] == str(path)
    assert volume.meta["spatial_shape"].tolist() == list(SHAPE)
    np.testing.assert_array_equal(volume.meta["original_affine"], volume.affine)


@pytest.mark.parametrize("name", ["a.mha", "a.mhd", "a.nrrd"])
def test_a_voxel_lies_where_itk_puts_it(tmp_path, name):
    save_itk(tmp_path / name)
    volume, image = read_volume(tmp_path / name), itk.imread(str(tmp_path / name))
    for index in np.ndindex(SHAPE):
        assert volume[(0, *index)] == image.GetPixel(index)
    for index in ((0, 0, 0), (3, 1, 4), (2, 5, 0)):
        x, y, z = image.TransformIndexToPhysicalPoint(index)
        found = volume.affine.numpy() @ [*index, 1]
        np.testing.assert_allclose(found[:3], [-x, -y, z], atol=1e-4)  # ITK counts to the left and to the back


def test_a_fourth_axis_is_refused_or_becomes_the_channel(tmp_path):
    path = tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti1Image(values((*SHAPE, 3)), AFFINE), path)
    with pytest.raises(DataError, match="the file holds 3 of them"):
        read_volume(path, "case 7")
    volume = read_volume(path, stacked=True)
    np.testing.assert_array_equal(volume.numpy(), np.moveaxis(values((*SHAPE, 3)), -1, 0))
    np.testing.assert_allclose(volume.affine.numpy(), AFFINE, atol=1e-6)


def test_a_slice_is_no_volume(tmp_path):
    nibabel.save(nibabel.Nifti1Image(values((4, 6, 1)), AFFINE), tmp_path / "a.nii")
    with pytest.raises(DataError, match="a 3-D volume is expected"):
        read_volume(tmp_path / "a.nii")


@pytest.mark.parametrize("name", ["a.nii.gz", "a.mha", "a.nrrd"])
@pytest.mark.parametrize(
    ("content", "match"), [(None, "no such file"), (b"", "the file is empty"), (b"<html>" * 99, "read")]
)
def test_what_cannot_be_read_names_the_case_the_file_and_the_remedy(tmp_path, name, content, match):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=match) as caught:
        read_volume(path, case="p7")
    assert (caught.value.case, caught.value.file) == ("p7", path)
    assert caught.value.remedy


def test_a_folder_without_a_series(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match="case p7"):
        read_volume(tmp_path, case="p7")


def test_affines_that_place_nothing():
    check_affine(torch.as_tensor(AFFINE))
    for value, match in ((torch.nan, "not finite"), (torch.inf, "not finite")):
        affine = torch.eye(4)
        affine[1, 3] = value
        with pytest.raises(DataError, match=f"case p7.*{match}"):
            check_affine(affine, "p7", "a.nii")
    flat = torch.eye(4)
    flat[:, 2] = 0
    double = torch.eye(4)
    double[:3, 1] = double[:3, 0]
    for affine in (flat, double):
        with pytest.raises(DataError, match="singular"):
            check_affine(affine)
    check_affine(torch.diag(torch.tensor([0.01, 0.01, 0.01, 1.0])))  # a small voxel is none of them
