import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy import ndimage

from monai_ext.errors import DataError
from monai_ext.transforms.grid import RememberGridd, ResampleToReferenced, RestoreLabelsd, RestoreToReferenced


def turned(spacing, origin, angle=0.2):
    affine = torch.eye(4, dtype=torch.float64)
    c, s = np.cos(angle), np.sin(angle)
    affine[:3, :3] = torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ torch.diag(torch.tensor(spacing).double())
    affine[:3, 3] = torch.tensor(origin).double()
    return affine


@pytest.mark.parametrize(("mode", "order"), [("bilinear", 1), ("nearest", 0)])
def test_resampling_against_scipy(mode, order):
    moving = torch.rand(1, 14, 15, 16, generator=torch.Generator().manual_seed(0))
    reference = MetaTensor(torch.zeros(1, 10, 11, 9), affine=turned([0.9, 0.8, 1.1], [3, 5, 4], 0.05))
    data = {"a": MetaTensor(moving, affine=turned([1.0, 1.2, 1.0], [1, 2, 1])), "t2w": reference}
    found = ResampleToReferenced("a", "t2w", mode=mode)(data)["a"]
    to_voxel = np.linalg.inv(data["a"].affine.numpy()) @ reference.affine.numpy()
    voxels = np.einsum("ij,j...->i...", to_voxel[:3, :3], np.indices((10, 11, 9))) + to_voxel[:3, 3, None, None, None]
    expected = ndimage.map_coordinates(moving[0].numpy(), voxels, order=order, mode="grid-constant")
    inside = np.all([(v > 0) & (v < size - 1) for v, size in zip(voxels, (14, 15, 16))], axis=0)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(found[0].numpy()[inside], expected[inside], atol=1e-5)
    assert torch.equal(found.affine, reference.affine)


def test_own_grid_is_identity():
    image = MetaTensor(torch.rand(1, 6, 7, 8), affine=turned([0.5, 0.5, 3], [1, 2, 3]))
    reference = MetaTensor(torch.rand(1, 6, 7, 8), affine=image.affine.clone())
    assert torch.equal(ResampleToReferenced("a", "t2w")({"a": image, "t2w": reference})["a"], image)


def test_overlap():
    reference = MetaTensor(torch.rand(1, 8, 8, 8), affine=turned([1, 1, 1], [0, 0, 0]))
    far = MetaTensor(torch.rand(1, 8, 8, 8), affine=turned([1, 1, 1], [0, 0, 100]))
    with pytest.raises(DataError, match=r"case 2.*do not overlap"):
        ResampleToReferenced("a", "t2w")({"id": 2, "a": far, "t2w": reference})
    near = MetaTensor(torch.rand(1, 8, 8, 8), affine=turned([1, 1, 1], [0, 0, 7]))
    with pytest.warns(UserWarning, match="covers 12% of t2w"):
        ResampleToReferenced("a", "t2w")({"id": 2, "a": near, "t2w": reference})


def test_restore_needs_the_grid_and_the_shape():
    image = MetaTensor(torch.rand(3, 4, 4, 4))
    with pytest.raises(ValueError, match="RememberGridd"):
        RestoreToReferenced()({"image": image, "pred": image})
    data = RememberGridd("image")({"image": image, "pred": torch.rand(1, 4, 4, 5)})
    with pytest.raises(ValueError, match=r"\(1, 4, 4, 5\)"):
        RestoreToReferenced()(data)


def test_restore_is_zero_outside_and_keeps_the_type():
    original = MetaTensor(torch.rand(1, 12, 12, 12), affine=turned([1, 1, 1], [0, 0, 0], 0.0))
    crop = MetaTensor(torch.rand(3, 4, 4, 4), affine=turned([1, 1, 1], [2, 3, 4], 0.0))
    pred = torch.ones(1, 4, 4, 4, dtype=torch.uint8)
    item = {**RememberGridd("t2w")({"t2w": original}), "image": crop, "pred": pred}
    restored = RestoreToReferenced(mode="nearest")(item)["pred"]
    expected = torch.zeros(1, 12, 12, 12, dtype=torch.uint8)
    expected[:, 2:6, 3:7, 4:8] = 1
    assert restored.dtype == torch.uint8
    assert torch.equal(restored.as_tensor(), expected)
    assert torch.equal(restored.affine, original.affine)


def test_labels_get_the_grid_of_the_scan():
    image = MetaTensor(torch.zeros(2, 14, 12, 10), affine=torch.diag(torch.tensor([2.0, 2, 2, 1])))
    grid = torch.tensor([[-1.0, 0, 0, 26], [0, -1, 0, 22], [0, 0, 3, 0], [0, 0, 0, 1]], dtype=torch.float64)
    labels = torch.randint(5, (1, 14, 12, 10), dtype=torch.uint8)
    item = {"id": "a", "image": image, "pred": labels}
    item |= {"original_affine": grid, "original_shape": torch.tensor([27, 23, 7])}
    restored = RestoreLabelsd()(item)["pred"]
    assert restored.shape == (1, 27, 23, 7)
    assert torch.equal(restored.affine, grid)
    assert restored.meta["filename_or_obj"] == "a.nii.gz"
    with pytest.raises(ValueError, match=r"\(1, 3, 3, 3\)"):
        RestoreLabelsd()(item | {"pred": torch.zeros(1, 3, 3, 3)})
    with pytest.raises(ValueError, match="RememberGridd"):
        RestoreLabelsd()({"image": image, "pred": labels})
