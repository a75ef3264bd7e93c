import pytest
import torch

from monai_ext.networks.nets import LesionRestorer


def restorer(**options):
    torch.manual_seed(0)
    return LesionRestorer(channels=(4, 8, 16), **options)


def test_an_image_changes_only_in_the_gland_and_in_its_range():
    network, image = restorer(output_range=(-0.5, 0.5)), torch.rand(2, 1, 16, 16) - 0.5
    gland = torch.zeros(2, 1, 16, 16, dtype=torch.bool)
    gland[:, :, 4:9, 5:12] = True
    made = network(image, None, gland)
    assert torch.equal(made[~gland], image[~gland])
    torch.testing.assert_close(made[gland], network(image)[gland])
    assert not torch.allclose(made[gland], image[gland])
    assert made.abs().max() <= 0.5


def test_pixels_beyond_the_range_go_on_learning():
    network = restorer(output_range=(0.0, 1.0))
    network(torch.full((1, 1, 16, 16), 2.0)).sum().backward()
    assert sum(float(p.grad.abs().sum()) for p in network.parameters()) > 0


def test_two_levels_that_an_instance_norm_cannot_tell_apart_have_different_residuals():
    """A constant slice is zero after an instance norm, whatever its level."""
    network = restorer()
    dark, bright = (torch.full((1, 1, 32, 32), level) for level in (-0.2, 0.3))
    middle = (slice(None), slice(None), slice(12, 20), slice(12, 20))  # padding reaches in from the edge
    residuals = [(network(image) - image)[middle] for image in (dark, bright)]
    assert (residuals[0] - residuals[1]).abs().min() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_dtype_of_the_image_stays(dtype):
    image = torch.rand(1, 1, 16, 16).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        assert restorer().reconstruct(image).dtype == dtype
