import itk
import numpy as np
import pytest
import torch

from monai_ext.errors import DataError
from monai_ext.transforms.load import LoadVolumed


def load(path, **kwargs):
    return LoadVolumed("t2w", **kwargs)({"id": "case 7", "t2w": path})["t2w"]


def refuse(path, match, **kwargs):
    with pytest.raises(DataError, match=match) as caught:
        load(path, **kwargs)
    assert caught.value.case == "case 7"
    assert str(caught.value.file) == str(path)
    assert caught.value.remedy


def test_nifti_values_and_affine(tmp_path, save):
    values = np.random.default_rng(1).normal(size=(5, 6, 7)).astype(np.float32)
    affine = np.array([[0.5, 0.1, 0, 3], [0, 0.6, 0, -4], [0.2, 0, 2, 5], [0, 0, 0, 1.0]])
    image = load(save(tmp_path / "a.nii.gz", values, affine))
    assert image.dtype == torch.float32
    np.testing.assert_array_equal(image[0].numpy(), values)
    np.testing.assert_allclose(image.affine.numpy(), affine, atol=1e-6)


def test_mha_has_the_geometry_itk_gives_it(tmp_path):
    values = np.random.default_rng(2).normal(size=(7, 6, 5)).astype(np.float32)  # z, y, x
    image = itk.image_from_array(values)
    image.SetSpacing([0.5, 0.7, 3.0])
    image.SetOrigin([11.0, -7.0, 4.0])
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    image.SetDirection(itk.matrix_from_array(turn))
    itk.imwrite(image, str(tmp_path / "a.mha"))
    loaded = load(tmp_path / "a.mha")
    for index in ((0, 0, 0), (4, 0, 0), (1, 5, 6)):
        lps = np.array(image.TransformIndexToPhysicalPoint(index))
        ras = (loaded.affine.numpy() @ [*index, 1])[:3]
        np.testing.assert_allclose(ras, lps * [-1, -1, 1], atol=1e-5)
        assert loaded[(0, *index)] == values[index[::-1]]


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.mha"])
@pytest.mark.parametrize("content", [b"", b"<html><body>404 Not Found</body></html>" * 20])
def test_no_image_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refuse(tmp_path / name, "cannot be read|empty")


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.mha"])
def test_truncated_file_is_refused(tmp_path, save, name):
    values = np.random.default_rng(3).normal(size=(20, 20, 20)).astype(np.float32)
    path = tmp_path / name
    if name.endswith("mha"):
        itk.imwrite(itk.image_from_array(values), str(path))
    else:
        save(path, values)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refuse(path, "cannot be read|ends early")


def test_missing_file(tmp_path):
    refuse(tmp_path / "none.nii.gz", "no such file")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_broken_voxels_are_refused_or_repaired(tmp_path, save, bad):
    values = np.ones((4, 5, 6), np.float32)
    values[0, 0, 0] = 2
    values[1, 2, 3] = values[3, 4, 5] = bad
    path = save(tmp_path / "a.nii.gz", values)
    refuse(path, "2 voxels are NaN or infinite")
    with pytest.warns(UserWarning, match="case 7.*2 NaN or infinite"):
        image = load(path, repair=True)
    assert image[0, 1, 2, 3] == 0
    assert image.sum() == values[np.isfinite(values)].sum()


def test_constant_volume_warns(tmp_path, save):
    with pytest.warns(UserWarning, match="case 7.*constant"):
        load(save(tmp_path / "a.nii.gz", np.full((4, 5, 6), 3, np.float32)))


@pytest.mark.parametrize(("column", "match"), [([0, 0, 0, 0], "singular"), ([0.5, 0, 0, 0], "singular")])
def test_singular_affine(tmp_path, save, column, match):
    affine = np.diag([0.5, 0.5, 3, 1.0])
    affine[:, 1] = column
    path = tmp_path / "a.nii"
    save(path, np.random.rand(4, 5, 6).astype(np.float32), np.diag([0.5, 0.5, 3, 1]))
    write_sform(path, affine)
    refuse(path, match)


def test_nan_affine(tmp_path, save):
    affine = np.diag([0.5, np.nan, 3, 1])
    path = tmp_path / "a.nii"
    save(path, np.random.rand(4, 5, 6).astype(np.float32), np.diag([0.5, 0.5, 3, 1]))
    write_sform(path, affine)
    refuse(path, "affine is not finite|cannot be read")


def write_sform(path, affine):
    """Write an affine that no library would write into a file: NIfTI-1 keeps the three rows at byte 280."""
    raw = bytearray(path.read_bytes())
    raw[280:328] = affine[:3].astype("<f4").tobytes()
    path.write_bytes(bytes(raw))


@pytest.mark.parametrize(("shape", "match"), [((6, 7, 8, 3), "holds 3 of them"), ((6, 7), "3-D"), ((6, 7, 1), "3-D")])
def test_other_dimensions_are_refused(tmp_path, save, shape, match):
    refuse(save(tmp_path / "a.nii.gz", np.random.rand(*shape).astype(np.float32)), match)


def test_a_fourth_axis_of_one_is_no_fourth_axis(tmp_path, save):
    values = np.random.rand(6, 7, 8, 1).astype(np.float32)
    assert load(save(tmp_path / "a.nii.gz", values)).shape == (1, 6, 7, 8)


def test_directory_without_dicom(tmp_path):
    (tmp_path / "readme.txt").write_text("nothing here")
    refuse(tmp_path, "no DICOM")
