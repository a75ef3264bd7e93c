import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import RandFlipd
from torch.utils.data import DataLoader

from monai_ext.data.slices import SliceDataset
from monai_ext.errors import DataError

LESION = {"a": [0, 0, 9, 5, 4, 0, 0, 0], "b": [0] * 8, "none": None, "c": [0, 0, 0, 0, 0, 0, 12, 1]}


def prepare(item):
    """Each slice of the image holds its case and number; label slices hold as many pixels as LESION says."""
    counts = LESION[item["id"]]
    case = list(LESION).index(item["id"])
    image = torch.zeros(3, 6, 5, 8) + torch.arange(8) + 100 * case
    result = {"id": item["id"], "image": MetaTensor(image)}
    if counts is not None:
        label = torch.zeros(30, 8, dtype=torch.uint8)
        for z, count in enumerate(counts):
            label[:count, z] = 1
        result["label"] = MetaTensor(label.view(1, 6, 5, 8))
    return result


@pytest.fixture
def make(tmp_path):
    def build(cases=LESION, **kwargs):
        return SliceDataset([{"id": case} for case in cases], prepare, tmp_path / "cache", **kwargs)

    return build


def test_all_slices_once(make):
    slices = make()
    assert len(slices) == 32
    for index in range(32):
        item = slices[index]
        case, z = divmod(index, 8)
        assert item.keys() == {"image", "label", "id", "z"}
        assert (item["id"], item["z"]) == (list(LESION)[case], z)
        assert item["image"].shape == (3, 6, 5)
        assert (item["image"] == z + 100 * case).all()
        assert item["label"].shape == (1, 6, 5)
        assert item["label"].dtype == torch.uint8
        assert item["label"].sum() == (LESION[item["id"]] or [0] * 8)[z]


def test_other_axes(make, tmp_path):
    slices = make(["a"], spatial_axis=1)
    volume = prepare({"id": "a"})
    assert len(slices) == 6
    for x in range(6):
        assert torch.equal(slices[x]["image"], volume["image"].as_tensor()[:, x])
        assert torch.equal(slices[x]["label"], volume["label"].as_tensor()[:, x])


@pytest.mark.parametrize(("pixels", "lesions"), [(1, 5), (5, 3), (10, 1)])
def test_balanced_epochs(make, pixels, lesions):
    slices = make(slices="balanced", min_lesion_pixels=pixels)
    assert len(slices) == 2 * lesions
    drawn, every = set(), [count for counts in LESION.values() if counts for count in counts]
    for epoch in range(20):
        slices.set_epoch(epoch)
        sums = [int(slices[index]["label"].sum()) for index in range(len(slices))]
        assert sorted(s for s in sums if s) == sorted(s for s in every if s >= pixels)
        assert sums.count(0) == lesions
        free = {(slices[i]["id"], slices[i]["z"]) for i in range(len(slices)) if not sums[i]}
        assert len(free) == lesions  # without replacement
        assert "none" not in {case for case, _ in free}  # nobody has looked for lesions there
        drawn |= free
    assert len(drawn) > 2 * lesions  # other ones in other epochs


def test_draw_depends_on_seed_and_epoch_alone(make):
    one, two, other = make(slices="balanced", seed=3), make(slices="balanced", seed=3), make(slices="balanced", seed=4)
    one.set_epoch(1)
    one.index()
    for epoch in (5, 0, 5):
        one.set_epoch(epoch)
        two.set_epoch(epoch)
        np.testing.assert_array_equal(one.index(), two.index())
    draws = []
    for slices in (one, other):
        slices.set_epoch(7)
        draws.append(slices.index())
    assert not np.array_equal(*draws)


def test_fewer_free_slices_than_lesions(make, monkeypatch):
    monkeypatch.setitem(LESION, "full", [9, 9, 9, 9, 9, 9, 9, 0])
    slices = make(["full"], slices="balanced")
    assert len(slices) == 8


def test_no_lesion_at_all(make):
    with pytest.raises(DataError, match="no slice of the 2 cases has 5 lesion pixels"):
        len(make(["b", "none"], slices="balanced"))
    with pytest.raises(ValueError, match="got 0"):
        make(min_lesion_pixels=0)


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_follows_the_epoch(make, workers):
    slices = make(slices="balanced")
    kwargs = {"num_workers": workers, "persistent_workers": workers > 0}
    loader = DataLoader(slices, batch_size=3, **kwargs)
    for epoch in (0, 1, 2):
        slices.set_epoch(epoch)
        found = [int(z) for batch in loader for z in batch["z"]]
        assert found == slices.index()[:, 1].tolist()


def test_slice_transform(make):
    flip = RandFlipd(("image", "label"), prob=1.0, spatial_axis=0)
    plain, flipped = make(["a"]), make(["a"], slice_transform=flip)
    for index in range(8):
        assert torch.equal(torch.as_tensor(flipped[index]["label"]), plain[index]["label"].flip(1))


@pytest.mark.parametrize(("pixels", "count"), [(1, 5), (5, 3), (9, 2)])
def test_lesion_slices_alone(make, pixels, count):
    slices = make(slices="lesion", min_lesion_pixels=pixels)
    assert len(slices) == count
    assert all(int(slices[index]["label"].sum()) >= pixels for index in range(count))
    with pytest.raises(DataError, match="no slice of the 2 cases has 5 lesion pixels"):
        len(make(["b", "none"], slices="lesion"))


def test_black_slices_are_left_out_with_and_without_label(tmp_path):
    shown = {"labelled": [1, 2, 5], "none": [0, 7]}

    def part(item):
        image = torch.full((2, 6, 5, 8), -3.0)
        image[1, 2, 3, shown[item["id"]]] = -2.9
        label = {"label": MetaTensor(torch.zeros(1, 6, 5, 8, dtype=torch.uint8))} if item["id"] == "labelled" else {}
        return {"id": item["id"], "image": MetaTensor(image), **label}

    slices = SliceDataset([{"id": case} for case in shown], part, tmp_path, slices="nonblack")
    found = [(slices[i]["id"], slices[i]["z"]) for i in range(len(slices))]
    assert found == [(case, z) for case, planes in shown.items() for z in planes]


def test_unknown_choice_of_slices_is_refused(make):
    with pytest.raises(ValueError, match="'some'"):
        make(slices="some")
