import pytest
import torch

from monai_ext.transforms import SliceJitter


@pytest.fixture
def slices():
    gland = torch.zeros(8, 1, 40, 40, dtype=torch.bool)
    gland[:, :, 10:30, 8:32] = True
    image = torch.rand(8, 1, 40, 40, generator=torch.Generator().manual_seed(0)) - 0.5
    return image.masked_fill(~gland, -0.95), gland


def test_without_strength_only_left_and_right_may_change(slices):
    image, gland = slices
    still = SliceJitter(degrees=0, shift=0, zoom=0, gain=0, offset=0, noise=0)
    moved, inside = still(image, gland, torch.Generator().manual_seed(1))
    mirrored = 0
    for a, b, x, y in zip(image, moved, gland, inside):
        flip = not torch.allclose(a, b, atol=1e-4)
        mirrored += flip
        torch.testing.assert_close(b, a.flip(1) if flip else a, atol=1e-4, rtol=1e-4)
        assert torch.equal(y, x.flip(1) if flip else x)
    assert 0 < mirrored < len(image)


def test_background_stays_background_and_draws_repeat(slices):
    image, gland = slices
    moved, inside = SliceJitter()(image, gland, torch.Generator().manual_seed(2))
    assert (moved[~inside] == -0.95).all()
    assert moved.abs().max() <= 0.95
    assert 0.6 < inside.sum() / gland.sum() < 1.5
    assert not torch.equal(inside, gland)
    again, _ = SliceJitter()(image, gland, torch.Generator().manual_seed(2))
    assert torch.equal(again, moved)
