import pytest
import torch

from monai_ext.inferers.body_box import body_box


def patient(shape=(48, 40, 64), centre=(20, 24), radius=(10, 8), noise=0.0):
    """A cylinder of 50 HU in air at -300 HU, where a clipped CT ends; a PET that is 0 but for the cylinder."""
    x, y = (torch.arange(n) for n in shape[:2])
    inside = ((x[:, None] - centre[0]) / radius[0]).square() + ((y - centre[1]) / radius[1]).square() <= 1
    ct = torch.where(inside, 50.0, -300.0)[..., None].repeat(1, 1, shape[2])
    pet = inside[..., None].float().repeat(1, 1, shape[2])
    generator = torch.Generator().manual_seed(0)
    return torch.stack([ct, pet + noise * torch.rand(shape, generator=generator)]), inside


@pytest.mark.parametrize("noise", [0.0, 0.004])
def test_holds_the_patient_with_a_margin_and_little_more(noise):
    image, inside = patient(noise=noise)
    box = body_box(image)
    for axis in (0, 1):
        places = inside.any(1 - axis).nonzero()[:, 0]
        assert 0 < places[0] - box[axis].start <= 8
        assert 0 < box[axis].stop - 1 - places[-1] <= 8
    assert box[2] == slice(0, 64)


def test_one_channel_is_enough():
    """A lesion that the PET alone shows, far from the patient's other tissue, as a foot in a PET without CT."""
    image, _ = patient()
    image[1, 40:44, 4:8, 60:] = 3.0
    box = body_box(image)
    assert box[0].stop == 48
    assert box[1].start == 0


def test_speckles_do_not_count():
    image, _ = patient()
    expected = body_box(image)
    image[0, ::4, ::4, ::4] = 100.0
    assert body_box(image) == expected


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_where_there_is_no_tissue_the_box_is_the_whole(value):
    assert body_box(torch.full((2, 10, 11, 12), value)) == (slice(0, 10), slice(0, 11), slice(0, 12))


def test_never_beyond_the_volume():
    box = body_box(torch.rand(1, 9, 10, 11) + 1)
    assert [(part.start, part.stop) for part in box] == [(0, 9), (0, 10), (0, 11)]


def test_a_volume_of_less_than_a_cell_is_taken_whole():
    assert body_box(torch.rand(1, 9, 10, 3)) == (slice(0, 9), slice(0, 10), slice(0, 3))
