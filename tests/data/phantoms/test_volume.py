import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from monai_ext.data.phantoms.volume import Grid, rotation, sample, write_nifti

TURN = rotation((4, -7, 12))


def place(grid):
    return np.moveaxis(np.indices(grid.shape), 0, -1) @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def test_rotation_is_scipys():
    np.testing.assert_allclose(TURN, Rotation.from_euler("xyz", (4, -7, 12), degrees=True).as_matrix(), atol=1e-12)


def test_grid_lies_about_its_centre():
    grid = Grid.centered((9, 6, 5), (0.5, 0.7, 3.0), TURN, np.array([5.0, -2.0, 30.0]))
    np.testing.assert_allclose(place(grid).reshape(-1, 3).mean(0), [5, -2, 30])
    np.testing.assert_allclose(np.linalg.norm(grid.affine[:3, :3], axis=0), [0.5, 0.7, 3])
    distance = sum(offset.astype(float) ** 2 for offset in grid.offsets())
    np.testing.assert_allclose(distance, ((place(grid) - [5, -2, 30]) ** 2).sum(-1), atol=1e-4)


def test_window_keeps_places():
    grid, box = Grid.centered((9, 6, 5), (0.5, 0.7, 3.0), TURN, np.zeros(3)), np.s_[2:7, :4, 1:]
    np.testing.assert_allclose(place(grid.window(box)), place(grid)[box])


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (3.5, 3.0, 4.0)])
def test_sample_of_a_linear_function_is_that_function(spacing):
    source = Grid.centered((40, 40, 40), (2.0, 2.0, 2.0), np.eye(3), np.zeros(3))
    target = Grid.centered((5, 6, 4), spacing, TURN, np.array([3.0, 1.0, -2.0]))
    values = place(source) @ [1.0, -2.0, 0.5]
    np.testing.assert_allclose(sample(values, source, target), place(target) @ [1.0, -2.0, 0.5], atol=1e-6)


def test_files_are_equal_and_integers_are_rounded_and_clipped(tmp_path):
    grid, values = Grid.centered((2, 2, 1), (1.0, 1.0, 3.0), TURN, np.zeros(3)), np.array([-0.6, 1.5, 254.6, 300.0])
    for name in ("a/x.nii.gz", "b/x.nii.gz"):
        write_nifti(tmp_path / name, values.reshape(2, 2, 1), grid, np.uint8)
    image = nibabel.load(tmp_path / "a/x.nii.gz")
    assert np.asarray(image.dataobj).ravel().tolist() == [0, 2, 255, 255]
    np.testing.assert_allclose(image.affine, grid.affine, atol=1e-5)
    assert image.get_sform(coded=True)[1] == image.get_qform(coded=True)[1] == 1
    assert (tmp_path / "a/x.nii.gz").read_bytes() == (tmp_path / "b/x.nii.gz").read_bytes()
