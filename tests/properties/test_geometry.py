"""Properties of every grid: affines of any rotation, spacing and order of axes."""

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Orientation
from scipy.spatial.transform import Rotation

from monai_ext.data.io.image_header import ImageHeader, read_header
from monai_ext.data.io.volume import read_volume
from monai_ext.data.preflight import _largest_distance, _overlap
from monai_ext.transforms.grid import RememberGridd, ResampleToReferenced, RestoreToReferenced
from monai_ext.transforms.resample import coverage

FEW = settings(max_examples=25, deadline=None)


@st.composite
def affines(draw, tilt=25.0):
    """Rotation by up to ``tilt`` degrees, a permutation and mirroring of the axes, spacing, origin."""
    angles = [draw(st.floats(-tilt, tilt)) for _ in range(3)]
    axes = np.eye(3)[:, draw(st.permutations(range(3)))] * [draw(st.sampled_from([-1, 1])) for _ in range(3)]
    result = np.eye(4)
    result[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ axes
    result[:3, :3] *= [draw(st.floats(0.4, 6)) for _ in range(3)]
    result[:3, 3] = [draw(st.floats(-200, 200)) for _ in range(3)]
    return result


SHAPES = st.tuples(*[st.integers(4, 9)] * 3)


def smooth(shape, affine):
    """A function of the place in space, linear so that trilinear interpolation is exact: x + 2 y - z, in mm."""
    index = np.moveaxis(np.indices(shape), 0, -1)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    values = torch.tensor(world @ [1.0, 2.0, -1.0], dtype=torch.float64)[None]
    return MetaTensor(values, affine=torch.tensor(affine))


@FEW
@given(affine=affines(), shape=SHAPES, other=affines(), grid=SHAPES)
def test_resampling_puts_values_where_they_belong(affine, shape, other, grid):
    middles = [matrix[:3, :3] @ ((np.array(size) - 1) / 2) for matrix, size in ((affine, shape), (other, grid))]
    other[:3, 3] = affine[:3, 3] + middles[0] - middles[1]  # they share their middle
    item = {"a": smooth(shape, affine), "b": smooth(grid, other)}
    result = ResampleToReferenced("a", "b")(item)["a"]
    assert result.shape[1:] == grid
    torch.testing.assert_close(result.affine, item["b"].affine, atol=1e-3, rtol=0)  # mm: grids as close are one
    voxel = np.linalg.inv(affine) @ other
    inside = np.moveaxis(np.indices(grid), 0, -1) @ voxel[:3, :3].T + voxel[:3, 3]
    safe = torch.tensor(((inside >= 0) & (inside <= np.array(shape) - 1)).all(-1))
    difference = (result.as_tensor()[0] - item["b"].as_tensor()[0])[safe]
    assert difference.numel() == 0 or difference.abs().max() < 1e-3


@FEW
@given(affine=affines(), shape=SHAPES)
def test_there_and_back_is_identity(affine, shape):
    """Orientation to RAS, remembered before and restored after, gives every voxel back."""
    values = torch.rand(1, *shape, generator=torch.Generator().manual_seed(1))
    item = RememberGridd("image")({"image": MetaTensor(values, affine=torch.tensor(affine)), "id": "a"})
    item["image"] = Orientation("RAS", labels=None)(item["image"])
    item["pred"] = item["image"].as_tensor().clone()
    restored = RestoreToReferenced("pred")(item)["pred"]
    assert restored.shape[1:] == shape
    torch.testing.assert_close(restored.as_tensor(), values, atol=1e-4, rtol=0)
    torch.testing.assert_close(restored.affine.double(), torch.tensor(affine))


@FEW
@given(affine=affines(), shape=SHAPES, shift=st.floats(-3, 3))
def test_coverage(affine, shape, shift):
    a = torch.tensor(affine)
    assert coverage(a, shape, a, shape) == 1
    far = a.clone()
    far[:3, 3] += 1e5
    assert coverage(far, shape, a, shape) == 0
    moved = a.clone()
    moved[:3, 3] += a[:3, 0] * shift  # by voxels along the first axis
    expected = max(0, shape[0] - abs(shift)) / shape[0]
    assert abs(coverage(moved, shape, a, shape) - expected) <= 1 / 16 + 1e-6


@FEW
@given(affine=affines(), shape=SHAPES, offset=st.tuples(*[st.floats(-40, 40)] * 3))
def test_preflight_distance_and_overlap(affine, shape, offset):
    moved = affine.copy()
    moved[:3, 3] += offset
    one, other = ImageHeader(shape, affine), ImageHeader(shape, moved)
    assert abs(_largest_distance(one, other) - np.linalg.norm(offset)) < 1e-9
    assert _overlap(one, other) == _overlap(other, one)
    assert _overlap(one, one)


@FEW
@given(affine=affines(tilt=0.0), tilted=affines(), shape=SHAPES, plain=st.booleans())
def test_header_and_volume_agree_with_nibabel(tmp_path_factory, affine, tilted, shape, plain):
    import nibabel as nib

    affine = affine if plain else tilted
    assume(abs(np.linalg.det(affine[:3, :3])) > 1e-3)
    path = tmp_path_factory.mktemp("n") / "a.nii.gz"
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    image = nib.Nifti1Image(values, affine)
    image.set_sform(affine, 1)
    nib.save(image, path)
    header, volume = read_header(path), read_volume(path)
    assert header.shape == shape
    np.testing.assert_allclose(header.affine, affine, atol=1e-4)
    np.testing.assert_allclose(volume.affine.numpy(), affine, atol=1e-4)
    np.testing.assert_array_equal(volume.as_tensor()[0].numpy(), values)
