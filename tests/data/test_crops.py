from collections import Counter

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, RandFlipd, RandGaussianNoised
from scipy.stats import chisquare
from torch.utils.data import DataLoader

from monai_ext.data import CropDataset
from monai_ext.data.crops import read_crop

SHAPE = (20, 14, 11)


class Volumes:
    """Image = a number per voxel; label = two boxes of different size; case "none" has no label."""

    calls = 0

    def __repr__(self):
        return "Volumes()"

    def __call__(self, item):
        Volumes.calls += 1
        values = torch.arange(np.prod(SHAPE)).reshape(1, *SHAPE).float()
        found = {"id": item["id"], "image": MetaTensor(torch.cat([values, -values]), affine=torch.eye(4))}
        if item["id"] != "none":
            found["label"] = MetaTensor(label_volume()[None], affine=torch.eye(4))
        return found


def label_volume():
    label = torch.zeros(SHAPE, dtype=torch.uint8)
    label[2:12, 2:10, 1:9] = 3
    label[17:19, 12, 9] = 7
    return label


def dataset(tmp_path, ids=("a",), **options):
    size = options.pop("crop_size", (8, 6, 4))
    return CropDataset([{"id": i} for i in ids], Volumes(), tmp_path, size, **{"half": False, **options})


@pytest.mark.parametrize("start", [(0, 0, 0), (5, 3, 2), (-3, -20, 9), (15, 12, 10), (-2, -2, -2), (40, 0, 0)])
@pytest.mark.parametrize("size", [(4, 3, 2), (30, 5, 20)])
def test_read_crop_is_padding_then_slicing(start, size):
    volume = np.random.default_rng(0).normal(size=(SHAPE[2], 2, *SHAPE[:2])).astype(np.float32)  # [Z, C, X, Y]
    margin = 64
    padded = np.pad(np.moveaxis(volume, 0, -1), [(0, 0)] + [(margin, margin)] * 3, constant_values=9)
    expected = padded[(slice(None), *(slice(s + margin, s + margin + n) for s, n in zip(start, size)))]
    np.testing.assert_array_equal(read_crop(volume, start, size, 9), expected)


def test_crop_is_where_it_says(tmp_path):
    data = dataset(tmp_path, num_crops=30)
    whole, label = Volumes()({"id": "a"})["image"], label_volume()
    for i in range(30):
        item = data[i]
        box = tuple(slice(int(s), int(s) + n) for s, n in zip(item["crop_start"], (8, 6, 4)))
        assert torch.equal(item["image"], whole.as_tensor()[(slice(None), *box)])
        assert torch.equal(item["label"], label[box][None])


def test_random_crops_lie_everywhere_alike(tmp_path):
    data = dataset(tmp_path, num_crops=3000)
    starts = np.stack([data[i]["crop_start"].numpy() for i in range(3000)])
    for axis, (length, size) in enumerate(zip(SHAPE, (8, 6, 4))):
        counts = np.bincount(starts[:, axis], minlength=length - size + 1)
        assert len(counts) == length - size + 1
        assert chisquare(counts).pvalue > 1e-3


def test_foreground_crops_are_centred_on_a_class_drawn_alike_and_a_voxel_drawn_alike(tmp_path):
    data = dataset(tmp_path, num_crops=4000, foreground=1.0, crop_size=(1, 1, 1))
    places = [tuple(data[i]["crop_start"].tolist()) for i in range(4000)]
    label = label_volume()
    classes = Counter(int(label[place]) for place in places)
    assert classes.keys() == {3, 7}
    assert chisquare(list(classes.values())).pvalue > 1e-3
    by_slice = Counter(place[2] for place in places if label[place] == 3)
    assert chisquare([by_slice[z] for z in range(1, 9)]).pvalue > 1e-3
    of_seven = Counter(place for place in places if label[place] == 7)
    assert chisquare([of_seven[17, 12, 9], of_seven[18, 12, 9]]).pvalue > 1e-3


def test_share_of_foreground_crops(tmp_path):
    # A crop of one voxel hits the label by chance in 642 of 3080 places.
    data = dataset(tmp_path, num_crops=3000, foreground=0.33, crop_size=(1, 1, 1))
    hits = np.mean([int(data[i]["label"].item() > 0) for i in range(3000)])
    assert hits == pytest.approx(0.33 + 0.67 * 642 / 3080, abs=0.03)


def test_crop_larger_than_the_volume_holds_it_in_the_middle(tmp_path):
    item = dataset(tmp_path, crop_size=(24, 14, 16), pad_value=-0.5, foreground=1.0)[0]
    assert item["image"].shape == (2, 24, 14, 16)
    inside = item["image"][:, 2:22, :, 3:14] if item["crop_start"][2] == -3 else item["image"][:, 2:22, :, 2:13]
    assert torch.equal(inside, Volumes()({"id": "a"})["image"].as_tensor())
    assert (item["image"] == -0.5).sum() == 2 * (24 * 14 * 16 - np.prod(SHAPE))


def test_case_without_label(tmp_path):
    item = dataset(tmp_path, ids=["none"], foreground=1.0)[0]
    assert not item["labelled"]
    assert not item["label"].any()


def test_crops_depend_on_seed_epoch_and_index_alone(tmp_path):
    transform = Compose([RandFlipd(["image", "label"], prob=0.5), RandGaussianNoised("image", prob=1.0)])
    options = {"ids": ["a", "b"], "num_crops": 8, "foreground": 0.5, "crop_transform": transform}
    data = dataset(tmp_path, **options)

    def epoch(number, workers=0, data=data):
        data.set_epoch(number)
        return torch.cat([batch["image"] for batch in DataLoader(data, batch_size=2, num_workers=workers)])

    first, second = epoch(1), epoch(2)
    assert not torch.equal(first, second)
    assert torch.equal(first, epoch(1))
    assert torch.equal(first, epoch(1, workers=2))
    again = dataset(tmp_path, **options)
    again.set_epoch(2)
    again[5]  # what was drawn before does not matter
    assert torch.equal(again[3]["image"], second[3])
    assert not torch.equal(first, epoch(1, data=dataset(tmp_path, seed=1, **options)))


def test_an_epoch_visits_the_cases_in_turn_and_prepares_each_once(tmp_path):
    Volumes.calls = 0
    data = dataset(tmp_path, ids=["a", "b", "c"], num_crops=4)
    seen = Counter()
    for number in range(3):
        data.set_epoch(number)
        seen.update(data[i]["id"] for i in range(len(data)))
    assert seen == {"a": 4, "b": 4, "c": 4}
    assert Volumes.calls == 3
    assert len(dataset(tmp_path, ids=["a", "b", "c"])) == 3


def test_no_volume_is_loaded_for_a_crop(tmp_path, monkeypatch):
    """Bytes that a crop copies out of the mapped volumes are those of the crop and of one label slice."""
    data = dataset(tmp_path, foreground=1.0, crop_size=(2, 2, 2))
    data[0]
    mapped = []
    monkeypatch.setattr(np, "load", lambda *a, f=np.load, **k: mapped.append(f(*a, **k)) or mapped[-1])
    data[0]
    assert mapped
    assert all(isinstance(array, np.memmap) for array in mapped)


@pytest.mark.parametrize("options", [{"foreground": 1.5}, {"crop_size": (8, 8)}, {"crop_size": (0, 8, 8)}])
def test_bad_arguments(tmp_path, options):
    with pytest.raises(ValueError):
        dataset(tmp_path, **options)


@pytest.mark.parametrize("start", [(0, 0, 0), (-3, 10, 9), (15, -2, -2)])
def test_border_is_repeated_where_asked(start):
    volume = np.random.default_rng(0).normal(size=(SHAPE[2], 2, *SHAPE[:2])).astype(np.float32)
    padded = np.pad(np.moveaxis(volume, 0, -1), [(0, 0)] + [(32, 32)] * 3, mode="edge")
    expected = padded[(slice(None), *(slice(s + 32, s + 44) for s in start))]
    np.testing.assert_array_equal(read_crop(volume, start, (12, 12, 12), None), expected)


def test_every_batch_has_foreground(tmp_path):
    """The last crop of each pair lies on the label, and no case always has that place."""
    data = dataset(
        tmp_path, ids=("a", "b", "c", "d"), num_crops=400, foreground=0.33, batch_size=2, crop_size=(2, 2, 2)
    )
    forced = [data[i] for i in range(1, 400, 2)]
    assert all(item["label"].any() for item in forced)
    share = float(np.mean([bool(data[i]["label"].any()) for i in range(0, 400, 2)]))
    assert share < 0.6  # the box fills a quarter of the volume
    cases = Counter(item["id"] for item in forced)
    assert min(cases.values()) > 25
    assert Counter(data[i]["id"] for i in range(400)) == dict.fromkeys("abcd", 100)
    with pytest.raises(ValueError, match="got 0"):
        dataset(tmp_path, batch_size=0)


def test_crops_of_a_half_cache_are_float32(tmp_path):
    item, exact = (dataset(tmp_path / str(half), half=half)[0] for half in (True, False))
    assert item["image"].dtype == torch.float32
    torch.testing.assert_close(item["image"], exact["image"], rtol=1 / 2048, atol=0)
    assert torch.equal(item["label"], exact["label"])
