import numpy as np
import pytest
import torch

from monai_ext.transforms import CutMix


def batch(items, shape):
    """Item i is i everywhere in its image, and 10 + i in its label."""
    index = torch.arange(float(items)).reshape(-1, *(1,) * (len(shape) + 1))
    return index.expand(items, 2, *shape).clone(), (10 + index).expand(items, 1, *shape).to(torch.uint8)


@pytest.mark.parametrize("shape", [(16, 20), (8, 12, 10)])
def test_a_box_of_half_the_voxels_comes_from_the_item_before_in_image_and_label(shape):
    image, label = batch(4, shape)
    shares = []
    for step in range(20):
        mixed, its = CutMix(share=1.0)(image, label, (0, 0, step))
        for item in range(4):
            box = mixed[item, 0] != item
            assert (mixed[item, 0][box] == (item - 1) % 4).all()
            assert torch.equal(mixed[item, 0], mixed[item, 1])
            assert torch.equal(its[item, 0].float(), 10 + mixed[item, 0])
            places = torch.nonzero(box)
            low, high = places.amin(0), places.amax(0)
            assert box[tuple(slice(a, b + 1) for a, b in zip(low.tolist(), high.tolist()))].all()
            shares.append(float(box.float().mean()))
    assert np.mean(shares) == pytest.approx(0.5, abs=0.03)  # sides are whole voxels
    assert len({round(share, 3) for share in shares}) > 3


def test_repeats_itself_by_its_numbers_and_leaves_what_it_gets():
    image, label = batch(6, (12, 12))
    first, again, other = (CutMix()(image, label, (3, 0, step)) for step in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])
    assert torch.equal(image, batch(6, (12, 12))[0])


def test_the_share_of_the_items():
    image, label = batch(100, (4, 4))
    changed = [
        float((CutMix(0.3)(image, label, (0, 0, step))[0] != image).flatten(1).any(1).float().mean())
        for step in range(30)
    ]
    assert np.mean(changed) == pytest.approx(0.3, abs=0.04)
    assert torch.equal(CutMix(0.0)(image, label, (0, 0, 1))[0], image)
    assert torch.equal(CutMix(1.0)(image[:1], label[:1], (0, 0, 1))[0], image[:1])


@pytest.mark.parametrize("given", [{"share": 1.5}, {"share": -0.1}, {"size": 0.0}, {"size": 1.1}])
def test_what_is_no_share_is_refused(given):
    with pytest.raises(ValueError, match="between 0 and 1"):
        CutMix(**given)
