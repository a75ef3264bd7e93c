import gzip
import tracemalloc

import itk
import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from monai_ext.data.io.image_header import num_axes, read_header
from monai_ext.data.io.volume import read_volume
from monai_ext.errors import DataError

AFFINE = np.eye(4)
AFFINE[:3, :3] = Rotation.from_euler("xyz", (5, -8, 12), degrees=True).as_matrix() * [0.5, 0.7, 3.0]
AFFINE[:3, 3] = 10, -20, 30


def save(path, shape=(4, 6, 5)):
    values = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    if ".nii" in path.name:
        nibabel.save(nibabel.Nifti1Image(values, AFFINE), path)
        return path
    image = itk.image_from_array(values.T.copy())
    lps = np.diag([-1.0, -1, 1, 1]) @ AFFINE
    spacing = np.linalg.norm(AFFINE[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection(itk.matrix_from_array((lps[:3, :3] / spacing).copy()))
    itk.imwrite(image, str(path))
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mha", "a.nrrd", "a.mhd"])
def test_header_is_that_of_the_volume(tmp_path, name):
    path = save(tmp_path / name)
    header, volume = read_header(path), read_volume(path)
    assert header.shape == tuple(volume.shape[1:]) == (4, 6, 5)
    assert header.placed
    assert num_axes(path) == 3
    np.testing.assert_allclose(header.affine, AFFINE, atol=1e-5)
    np.testing.assert_allclose(header.affine, volume.affine.numpy(), atol=1e-5)


def test_axes_of_one_do_not_count(tmp_path):
    assert read_header(save(tmp_path / "a.nii", (4, 6, 5, 1))).shape == (4, 6, 5)
    assert num_axes(save(tmp_path / "b.nii", (4, 6, 5, 1))) == 3
    assert num_axes(save(tmp_path / "c.nii", (4, 6, 5, 2))) == 4
    assert num_axes(tmp_path / "none.nii") == num_axes(tmp_path / "none.mha") == 0


def test_file_without_codes_has_no_place(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((4, 6, 5), np.int16), None)
    nibabel.save(image, tmp_path / "a.nii")
    assert not read_header(tmp_path / "a.nii").placed


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mha"])
def test_file_that_ends_early(tmp_path, name):
    path = save(tmp_path / name, (40, 30, 20))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=name):
        read_header(path)


def test_gzip_of_several_members_is_whole(tmp_path):
    plain = save(tmp_path / "a.nii", (40, 30, 20)).read_bytes()
    path = tmp_path / "b.nii.gz"
    path.write_bytes(gzip.compress(plain[:1000]) + gzip.compress(plain[1000:]))
    assert read_header(path).shape == (40, 30, 20)


def test_no_more_is_decompressed_than_the_header_announces(tmp_path):
    """300 MB of zeros behind the voxels, in 300 KB."""
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(gzip.compress(save(tmp_path / "a.nii").read_bytes() + bytes(3 * 10**8), 1))
    for read in (read_header, read_volume):
        tracemalloc.start()
        assert tuple(read(path).shape)[-3:] == (4, 6, 5)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**24, read.__name__


@pytest.mark.parametrize(("content", "match"), [(None, "no such file"), (b"", "empty"), (b"<html>" * 99, "read")])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mha"])
def test_what_is_no_image(tmp_path, name, content, match):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=match if content != b"<html>" * 99 else name):
        read_header(tmp_path / name)
