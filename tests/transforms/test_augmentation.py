import numpy as np
import pytest
import torch

from monai_ext.transforms import SegmentationAugmentation


def item(channels=2, size=(24, 20, 16)):
    """Two smooth channels, and a label that is a function of the first."""
    axes = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in size), indexing="ij")
    blob = torch.exp(-3 * ((axes[0] - 0.2) ** 2 + axes[1] ** 2 + (axes[2] + 0.1) ** 2))
    image = torch.stack([blob * (c + 1) - 0.3 for c in range(channels)])
    return {"image": image, "label": (blob > 0.5).to(torch.uint8)[None], "id": "a"}


def draws(transform, count, **options):
    for seed in range(count):
        transform.set_random_state(seed=seed)
        yield transform(item(**options))


def test_nothing_asked_for_changes_nothing():
    still = SegmentationAugmentation(rotation=0, scale=(1, 1), flips=(), intensity=False)
    for found in draws(still, 5):
        assert torch.equal(torch.as_tensor(found["image"]), item()["image"])
        assert torch.equal(torch.as_tensor(found["label"]), item()["label"])


def test_image_and_label_move_together():
    """The label remains the same function of the image, except for interpolation along its border."""
    moved = 0
    for found in draws(SegmentationAugmentation(intensity=False), 40):
        image, label = (torch.as_tensor(found[key]) for key in ("image", "label"))
        again = image[:1] + 0.3 > 0.5
        inside = image[:1] != 0  # what came from outside of the crop is 0 in both
        assert ((again != label.bool()) & inside).float().mean() < 0.02
        assert set(label.unique().tolist()) <= {0, 1}
        assert (type(found["label"]), label.dtype) == (torch.Tensor, torch.uint8)
        moved += not torch.equal(label.float(), item()["label"].float())
    assert moved > 25


def test_intensity_leaves_the_label_alone():
    same = 0
    for found in draws(SegmentationAugmentation(rotation=0, scale=(1, 1), flips=()), 60):
        assert torch.equal(torch.as_tensor(found["label"]).float(), item()["label"].float())
        assert torch.isfinite(torch.as_tensor(found["image"])).all()
        same += torch.equal(torch.as_tensor(found["image"]), item()["image"])
    untouched = 0.9 * 0.8 * 0.85 * 0.85 * 0.75 * 0.9 * 0.7
    assert same / 60 == pytest.approx(untouched, abs=0.15)


@pytest.mark.parametrize("channels", [1, 3])
def test_any_number_of_channels_and_a_smaller_result(channels):
    for found in draws(SegmentationAugmentation(size=(16, 16, 16)), 10, channels=channels):
        assert found["image"].shape == (channels, 16, 16, 16)
        assert found["label"].shape == (1, 16, 16, 16)


def test_without_moving_the_result_is_the_middle_of_the_crop():
    still = SegmentationAugmentation(size=(16, 16, 8), rotation=0, scale=(1, 1), flips=(), intensity=False)
    found = next(draws(still, 1))
    torch.testing.assert_close(torch.as_tensor(found["image"]), item()["image"][:, 4:20, 2:18, 4:12])


def test_zoom_is_in_its_range():
    """The blob's volume over its size before, with half of the draws on either side of 1."""
    zooms = []
    for found in draws(SegmentationAugmentation(rotation=0, scale=(0.7, 1.4), flips=(), intensity=False), 120):
        zooms.append(float(torch.as_tensor(found["label"]).sum() / item()["label"].sum()) ** (1 / 3))
    changed = np.array([z for z in zooms if z != 1])
    assert 0.68 < changed.min() < 0.9
    assert 1.15 < changed.max() < 1.42


def test_label_may_be_absent():
    transform = SegmentationAugmentation()
    transform.set_random_state(seed=0)
    assert transform({"image": item()["image"]}).keys() == {"image"}


def test_same_seed_same_result():
    transform = SegmentationAugmentation()
    one, other = (next(draws(transform, 1)) for _ in range(2))
    assert torch.equal(torch.as_tensor(one["image"]), torch.as_tensor(other["image"]))


def test_elastic_bends_image_and_label_together():
    """Displacements differ from place to place, and the label remains the same function of the image."""
    bend = SegmentationAugmentation(rotation=0, scale=(1, 1), flips=(), intensity=False, elastic=True)
    coordinates = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in (24, 20, 16)), indexing="ij"))
    changed = 0
    for seed in range(40):
        data = item() | {"image": torch.cat([item()["image"], coordinates])}
        bend.set_random_state(seed=seed)
        found = {key: torch.as_tensor(value) for key, value in bend(data).items() if key != "id"}
        moved = (found["image"][2:] - coordinates)[:, 6:-6, 6:-6, 6:-6]
        if moved.abs().max() < 0.05:
            continue
        changed += 1
        assert moved.flatten(1).std(1).max() > 0.005  # not a shift
        assert ((found["image"][:1] + 0.3 > 0.5) != found["label"].bool()).float().mean() < 0.03
    assert 2 <= changed <= 16  # a fifth of 40


def test_outside_can_repeat_the_border():
    turn = SegmentationAugmentation(scale=(1, 1), flips=(), intensity=False, outside="border")
    zero = SegmentationAugmentation(scale=(1, 1), flips=(), intensity=False)
    pairs = zip(draws(turn, 15), draws(zero, 15))
    ones = [(torch.as_tensor(a["image"]), torch.as_tensor(b["image"])) for a, b in pairs]
    assert any((b == 0).any() for _, b in ones)
    assert all(not (a == 0).any() for a, _ in ones)
    differ = [(a != b) & (b.abs() > 0.02) for a, b in ones]
    assert sum(d.float().mean() for d in differ) / 15 < 0.2


def test_scale_must_hold_one():
    with pytest.raises(ValueError, match=r"\(1.1, 1.4\)"):
        SegmentationAugmentation(scale=(1.1, 1.4))


def bar():
    image = torch.zeros(2, 65, 65)
    image[:, 32:34, 40:60] = 1
    return {"image": image, "label": (image[:1] > 0).to(torch.uint8)}


def test_slices_turn_by_any_angle():
    """In a plane, and evenly: an angle lies on either side of nought and beyond a quarter turn as often as not."""
    turn = SegmentationAugmentation(rotation=180, scale=(1, 1), flips=(), intensity=False, spatial_dims=2)
    angles = []
    for seed in range(300):
        turn.set_random_state(seed=seed)
        found = turn(bar())
        assert found["image"].shape == (2, 65, 65)
        x, y = (torch.nonzero(found["image"][0] > 0.5).float().mean(0) - 32).tolist()
        angles.append(np.degrees(np.arctan2(x, y)))
        assert (found["label"].float() - found["image"][:1]).abs().mean() < 0.01
    turned = np.array([a for a in angles if abs(a - angles[0]) > 3 and abs(a) > 3])
    assert 0.1 < len(turned) / 300 < 0.3  # a fifth
    assert 0.3 < (turned > 0).mean() < 0.7
    assert 0.3 < (abs(turned) > 90).mean() < 0.7


def test_slices_with_everything():
    transform = SegmentationAugmentation(flips=(0, 1), spatial_dims=2, deform=(1, 4), outside="border")
    changed = 0
    for seed in range(30):
        transform.set_random_state(seed=seed)
        found = transform(bar())
        assert found["image"].shape == (2, 65, 65)
        assert torch.isfinite(found["image"]).all()
        assert set(found["label"].unique().tolist()) <= {0, 1}
        changed += not torch.equal(found["label"], bar()["label"])
    assert changed > 15


@pytest.mark.parametrize(
    "wrong", [{"flips": (2,), "spatial_dims": 2}, {"spatial_dims": 4}, {"elastic": True, "deform": (1, 2)}]
)
def test_what_slices_cannot_have(wrong):
    with pytest.raises(ValueError):
        SegmentationAugmentation(**wrong)
