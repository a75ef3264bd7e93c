import pytest
import torch

from monai_ext.losses import RestorationLoss


def paste(image, gland, generator):
    changed = gland.clone()
    changed[..., 4:] = False
    return image + changed, changed


@pytest.mark.parametrize("weight", [0.0, 3.0])
def test_error_is_that_of_the_slice_before_and_changed_pixels_count_more(weight):
    image = torch.rand(2, 1, 8, 8)
    gland = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    gland[:, :, 2:6, 2:6] = True
    seen = []

    def network(altered, domain, mask):
        seen.append((altered, domain, mask))
        return altered - 0.5

    loss = RestorationLoss(paste, weight)(network, image, torch.zeros(2), gland=gland)["loss"]
    # 8 of 64 pixels were raised by 1 and are 0.5 off; all others are -0.5 off.
    assert loss.item() == pytest.approx(0.25 * (56 + 8 * (1 + weight)) / 64, rel=1e-5)
    altered, domain, mask = seen[0]
    assert domain is None
    assert torch.equal(mask, gland)
    assert (altered - image).sum() == pytest.approx(16)


def test_without_a_gland_the_whole_slice_is_used():
    image = torch.zeros(1, 1, 8, 8)
    loss = RestorationLoss(paste, 0.0)(lambda x, domain, gland: x * gland, image, torch.zeros(1))["loss"]
    assert loss.item() == pytest.approx(0.5)
