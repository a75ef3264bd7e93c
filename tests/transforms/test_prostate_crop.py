import pytest
import torch
from monai.data import MetaTensor

from monai_ext.errors import DataError
from monai_ext.transforms import crop_affine, onto_grid


def test_box_is_centred_on_the_gland_and_on_its_voxels():
    affine = torch.diag(torch.tensor([0.5, 0.5, 3.0, 1.0])).double()
    affine[:3, 3] = torch.tensor([10.0, -20.0, 30.0])
    gland = torch.zeros(1, 60, 60, 12)
    gland[:, 20:31, 24:41, 3:8] = 1
    image = MetaTensor(gland, affine=affine)
    box = crop_affine(image, (0.5, 0.5, 3.0), (32, 32, 8))
    middle = box @ torch.tensor([15.5, 15.5, 3.5, 1.0]).double()
    wanted = affine @ torch.tensor([25.0, 32.0, 5.0, 1.0]).double()
    assert (middle - wanted).abs().max() <= 1.5  # half a voxel of each axis at most
    # Nothing is interpolated: the crop holds the scan's own voxels.
    values = MetaTensor(torch.randn(1, 60, 60, 12), affine=affine)
    start = torch.linalg.solve(affine, box)[:3, 3].round().long().tolist()
    crop = onto_grid(values, box, (32, 32, 8)).as_tensor()
    inside = [slice(max(s, 0), s + n) for s, n in zip(start, (32, 32, 8))]
    expected = values.as_tensor()[(slice(None), *inside)]
    assert torch.allclose(crop[..., : expected.shape[-1]] if start[2] >= 0 else crop[..., -start[2] :], expected)
    with pytest.warns(UserWarning, match="11 x 17 x 5 voxels, the box has 8 x 32 x 8"):
        crop_affine(image, (0.5, 0.5, 3.0), (8, 32, 8))
    with pytest.warns(UserWarning, match=r"case c: m.nii: the gland mask fills 100% of the scan"):
        crop_affine(MetaTensor(torch.ones(1, 9, 9, 9), affine=affine), (0.5, 0.5, 3.0), (16, 16, 16), "c", "m.nii")
    with pytest.raises(DataError, match="gland mask is empty"):
        crop_affine(MetaTensor(gland * 0, affine=affine), (0.5, 0.5, 3.0), (8, 8, 8), "c")
