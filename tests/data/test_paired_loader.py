import pytest
import torch
from torch.utils.data import Dataset

from monai_ext.data import PairedLoader, TrainLoader
from monai_ext.errors import DataError


class Items(Dataset):
    """Numbers from ``first`` on; unlike a list it has no more than this to be found by."""

    def __init__(self, first, count):
        self.first, self.count = first, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return {"image": torch.tensor([float(self.first + index)]), "label": torch.tensor([1.0]), "id": "x"}


def paired(labelled=4, unlabelled=7, batch_size=2, workers=0):
    return PairedLoader(TrainLoader(Items(0, labelled), 2, workers), Items(100, unlabelled), batch_size)


def test_an_epoch_is_that_of_the_labelled_items_and_others_come_in_turn():
    loader = paired(labelled=20, unlabelled=7)
    batches = list(loader)
    assert len(batches) == len(loader) == 10
    assert sorted(float(x) for batch in batches for x in batch["image"]) == [float(n) for n in range(20)]
    others = [float(x) for batch in batches for x in batch["unlabelled"]]
    assert set(others) <= {100.0 + n for n in range(7)}
    turns = [others[i : i + 6] for i in range(0, 20, 6)]  # three whole batches of a turn of seven
    assert all(len(set(turn)) == len(turn) for turn in turns)
    assert turns[0] != turns[1]


def test_nothing_but_the_images_of_unlabelled_items_is_handed_on():
    batch = next(iter(paired()))
    assert set(batch) == {"image", "label", "id", "unlabelled"}
    assert batch["label"].shape == (2, 1)
    assert isinstance(batch["unlabelled"], torch.Tensor)


def test_the_same_seed_gives_the_same_batches_with_and_without_workers():
    def draw(workers):
        torch.manual_seed(3)
        return [batch["unlabelled"].flatten().tolist() for batch in paired(workers=workers)]

    assert draw(0) == draw(0) == draw(2)


def test_too_few_for_a_batch_say_so():
    with pytest.raises(DataError, match=r"1 images without labels.*batch_size"):
        next(iter(paired(unlabelled=1)))


def test_both_data_sets_can_be_found():
    loader = paired()
    assert (loader.dataset.first, loader.unlabelled.first) == (0, 100)
    assert [each.dataset.first for each in loader.loaders] == [0, 100]
