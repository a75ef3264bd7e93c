import pytest
import torch

from monai_ext.transforms import GENERATOR_SCALES, GeneratorScale


def test_scale_is_linear_masked_and_clipped():
    scale = GENERATOR_SCALES["adc"]
    image = torch.tensor([-100.0, scale.center, scale.center + scale.width / 2, 100.0])
    seen = scale(image, torch.tensor([True, True, True, True]))
    assert torch.allclose(seen, torch.tensor([-0.95, 0.0, 0.5, 0.95]))
    assert (scale(image, torch.zeros(4, dtype=torch.bool)) == -0.95).all()
    assert scale.range == pytest.approx((scale.center - 0.95 * scale.width, scale.center + 0.95 * scale.width))


@pytest.mark.parametrize("scale", [*GENERATOR_SCALES.values(), GeneratorScale(0.0, 1.0, limit=0.5)])
def test_what_is_kept_can_be_brought_back(scale):
    low, high = scale.range
    image = torch.linspace(low, high, 21)
    seen = scale(image, torch.ones(21, dtype=torch.bool))
    torch.testing.assert_close(seen * scale.width + scale.center, image)
    assert seen.abs().max() <= scale.limit < 1
