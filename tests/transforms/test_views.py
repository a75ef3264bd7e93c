import pytest
import torch

from monai_ext.transforms.views import RandomView

STILL = {"area": (1.0, 1.0), "degrees": 0.0, "flips": False, "contrast": 0.0, "brightness": 0.0, "noise": 0.0}


def images(count=4, size=32):
    return torch.randn(count, 2, size, size, generator=torch.Generator().manual_seed(0))


def test_zero_strength_is_identity():
    torch.testing.assert_close(RandomView(**STILL)(images()), images(), atol=1e-5, rtol=1e-4)


def test_flips_alone_are_flips():
    view = RandomView(**STILL | {"flips": True})(images(64), torch.Generator().manual_seed(1))
    options = torch.stack([images(64).flip(dims) for dims in ([], [2], [3], [2, 3])])
    distance = (options - view).abs().amax((2, 3, 4))
    assert (distance.amin(0) < 1e-4).all()
    assert len(distance.argmin(0).unique()) == 4


def test_a_crop_shows_a_part_of_the_image():
    """On a ramp the range of a view is the side of the crop."""
    ramp = torch.linspace(0, 1, 64).expand(200, 1, 64, 64)
    view = RandomView(**STILL | {"area": (0.25, 0.64)})(ramp, torch.Generator().manual_seed(2))
    side = (view.amax((1, 2, 3)) - view.amin((1, 2, 3))) / (63 / 64)
    assert 0.45 < side.min() < 0.55
    assert 0.75 < side.max() < 0.82
    assert view.min() >= 0
    assert view.max() <= 1


def test_intensities_change_by_channel_within_their_limits():
    flat = torch.ones(500, 2, 4, 4)
    view = RandomView(**STILL | {"contrast": 0.4, "brightness": 0.2})(flat, torch.Generator().manual_seed(3))
    assert 0.4 <= view.min() < 0.5
    assert 1.5 < view.max() <= 1.6
    assert (view[:, 0, 0, 0] != view[:, 1, 0, 0]).all()
    assert view.var((2, 3)).max() < 1e-10


def test_same_generator_same_view():
    draw = [RandomView()(images(), torch.Generator().manual_seed(seed)) for seed in (5, 5, 6)]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])
    with pytest.raises(ValueError, match="area"):
        RandomView(area=(0, 1))
