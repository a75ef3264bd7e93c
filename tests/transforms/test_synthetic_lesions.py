import pytest
import torch
from scipy import ndimage

from monai_ext.transforms import GENERATOR_SCALES, SyntheticLesions

SPACING = (1.5, 1.5)


@pytest.fixture
def slices():
    draws = torch.Generator().manual_seed(0)
    gland = torch.zeros(32, 1, 48, 48, dtype=torch.bool)
    gland[:, :, 10:38, 6:42] = True
    image = (0.2 * torch.randn(32, 1, 48, 48, generator=draws)).clamp(-0.9, 0.9)
    return image.masked_fill(~gland, -0.95), gland


@pytest.mark.parametrize(("modality", "sign"), [("t2w", -1), ("adc", -1), ("hbv", 1)])
def test_lesions_lie_in_the_gland_and_point_as_cancer_does(slices, modality, sign):
    image, gland = slices
    altered, changed = SyntheticLesions(modality, SPACING, share=1.0)(image, gland, torch.Generator().manual_seed(1))
    assert torch.equal(altered[~gland], image[~gland])
    assert torch.equal((altered - image).abs() > 0.01, changed)
    assert (changed & gland).flatten(1).any(1).all()
    assert sign * (altered - image)[changed].mean() > 0.1
    assert altered.abs().max() <= GENERATOR_SCALES[modality].limit


def test_lesions_have_the_size_of_significant_cancer(slices):
    _, gland = slices
    lesions = SyntheticLesions("hbv", SPACING, share=1.0)
    weight = lesions._weight(gland, torch.Generator().manual_seed(2))
    for single in weight[:, 0].numpy() > 0.25:
        labels, _ = ndimage.label(single)
        box = max(ndimage.find_objects(labels), key=lambda b: single[b].sum())
        extent = max((s.stop - s.start) * mm for s, mm in zip(box, SPACING))
        assert extent <= 27  # 18 mm, an outline that is noisy, and pixels of 1.5 mm
    assert (weight > 0.25).sum((1, 2, 3)).float().mean() * 1.5**2 > 40  # mm2


def test_adc_of_a_lesion_is_physical_whatever_the_gland(slices):
    image, gland = slices
    scale = GENERATOR_SCALES["adc"]
    for shift in (-0.2, 0.3):
        level = SyntheticLesions("adc", SPACING)._level(image + shift, gland, torch.Generator().manual_seed(3))
        adc = 500 * (level * scale.width + scale.center) + 1200
        assert adc.min() >= 650
        assert adc.max() <= 1050


def test_some_slices_are_left_alone_and_draws_repeat(slices):
    image, gland = slices
    none, changed = SyntheticLesions("t2w", SPACING, share=0.0)(image, gland)
    assert torch.equal(none, image)
    assert not changed.any()
    lesions = SyntheticLesions("t2w", SPACING, share=0.5)
    one, changed = lesions(image, gland, torch.Generator().manual_seed(4))
    assert 0 < changed.flatten(1).any(1).sum() < len(image)
    assert torch.equal(one, lesions(image, gland, torch.Generator().manual_seed(4))[0])


def test_unknown_modality():
    with pytest.raises(ValueError, match="'ct' is none of t2w"):
        SyntheticLesions("ct", SPACING)
