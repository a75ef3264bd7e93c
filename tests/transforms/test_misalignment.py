import numpy as np
import pytest
import torch

from monai_ext.transforms import RandMisalignd


@pytest.fixture
def item():
    x, y, z = torch.meshgrid(*(torch.arange(20.0) for _ in range(3)), indexing="ij")
    blob = torch.exp(-((x - 9) ** 2 + (y - 10) ** 2 + (z - 8) ** 2) / 12)
    return {"image": torch.stack([blob, blob, x]), "label": (blob > 0.5)[None]}


def centre(volume):
    places = torch.stack(torch.meshgrid(*(torch.arange(20.0) for _ in range(3)), indexing="ij"))
    return ((places * volume).flatten(1).sum(1) / volume.sum()).numpy()


def draws(transform, item, count):
    for seed in range(count):
        transform.set_random_state(seed=seed)
        yield transform(item)


def test_one_channel_moves_within_its_limits(item):
    before = item["image"].clone()
    offsets = []
    for found in draws(RandMisalignd(prob=1, shift=(3, 1, 0), rotation=0), item, 60):
        assert torch.equal(found["image"][1:], before[1:])
        assert torch.equal(found["label"], item["label"])
        offsets.append(centre(found["image"][0]) - centre(before[0]))
    offsets = np.abs(offsets).max(0)
    assert 2 < offsets[0] < 3.1
    assert 0.7 < offsets[1] < 1.1
    assert offsets[2] < 1e-3
    assert torch.equal(item["image"], before)  # the input is left as it was


def test_rotation_about_the_middle_keeps_the_blob_nearby(item):
    for found in draws(RandMisalignd(channel=1, prob=1, shift=(0, 0, 0), rotation=5), item, 10):
        assert not torch.equal(found["image"][1], item["image"][1])
        assert torch.equal(found["image"][0], item["image"][0])
        assert np.abs(centre(found["image"][1]) - centre(item["image"][1])).max() < 0.5


def test_share_and_none(item):
    moved = [not torch.equal(f["image"], item["image"]) for f in draws(RandMisalignd(prob=0.3), item, 300)]
    assert np.mean(moved) == pytest.approx(0.3, abs=0.09)
    still = RandMisalignd(prob=1, shift=(0, 0, 0), rotation=0)
    torch.testing.assert_close(next(draws(still, item, 1))["image"], item["image"], atol=1e-4, rtol=1e-4)
