import numpy as np
import pytest
import torch

from monai_ext.networks.blocks.patch_error import normalize_patches, patch_error, patch_targets
from monai_ext.networks.blocks.patches import patchify

IMAGE = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0)) * 5 + 2
OTHER = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("channels", [1, 3])
def test_patches_have_zero_mean_and_unit_variance(channels):
    patches = patchify(IMAGE, (4, 4))
    found = normalize_patches(patches, channels).unflatten(-1, (-1, channels))
    assert found.mean(-2).abs().max() < 1e-5
    torch.testing.assert_close(found.var(-2), torch.ones_like(found.var(-2)), atol=1e-4, rtol=0)
    torch.testing.assert_close(normalize_patches(patches * 3 - 7, channels), normalize_patches(patches, channels))


def test_constant_patch_is_zero():
    assert (normalize_patches(torch.full((1, 2, 16), 3.0)) == 0).all()


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_error_of_a_patch_by_numpy(normalize, per_channel, absolute):
    found = patch_error(OTHER, IMAGE, (4, 6), normalize, per_channel, absolute)
    assert found.shape == (2, 4)
    for case in range(2):
        for patch in range(4):
            y, x = divmod(patch, 2)
            box = np.s_[case, :, 4 * y : 4 * y + 4, 6 * x : 6 * x + 6]
            target, pred = IMAGE[box].double().numpy(), OTHER[box].double().numpy()
            if normalize:
                axes = (1, 2) if per_channel else None
                deviation = np.sqrt(target.var(axis=axes, ddof=1, keepdims=True) + 1e-6)
                target = (target - target.mean(axis=axes, keepdims=True)) / deviation
            difference = np.abs(pred - target)
            due = (difference if absolute else difference**2).mean()
            assert found[case, patch].item() == pytest.approx(due, rel=1e-4)


def test_patches_and_images_are_alike_as_predictions():
    assert torch.equal(patch_error(OTHER, IMAGE, (4, 4)), patch_error(patchify(OTHER, (4, 4)), IMAGE, (4, 4)))
    assert (patch_error(patch_targets(IMAGE, (4, 4)), IMAGE, (4, 4)) == 0).all()
    assert patch_error(OTHER.half(), IMAGE, (4, 4)).dtype == torch.float32
