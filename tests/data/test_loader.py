"""Shares of an epoch on two processes: disjoint, together the whole, and another draw in each epoch."""

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, Sampler
from torch.utils.data.distributed import DistributedSampler
from two_processes import on_two_processes

from monai_ext.data import ForegroundBatches, TrainLoader
from monai_ext.data.loader import ShareOf

ITEMS = list(range(12))


class Draw(Sampler):
    """Another order of the items in each epoch, the same on all processes."""

    def __init__(self):
        self.epochs = []

    def set_epoch(self, epoch):
        self.epochs.append(epoch)

    def __len__(self):
        return len(ITEMS)

    def __iter__(self):
        return iter(order(self.epochs[-1] if self.epochs else 0))


class Backwards(Sampler):
    """A sampler without epochs."""

    def __init__(self):
        pass

    def __len__(self):
        return 7

    def __iter__(self):
        return iter(range(6, -1, -1))


def order(epoch):
    return torch.randperm(len(ITEMS), generator=torch.Generator().manual_seed(epoch)).tolist()


def seen(loader):
    return [batch.tolist() for batch in loader]


def work(rank, folder):
    found = {}
    shuffled = TrainLoader(ITEMS, batch_size=2)
    for epoch in (1, 2):
        shuffled.sampler.set_epoch(epoch)
        found["shuffled", epoch] = seen(shuffled)
    found["steps"] = {
        (items, size, drop): (len(loader), len(seen(loader)))
        for items, size, drop in ((12, 2, False), (12, 4, False), (12, 4, True), (10, 2, False))
        for loader in [TrainLoader(list(range(items)), batch_size=size, drop_last=drop)]
    }
    found["ordered"] = seen(TrainLoader(ITEMS, batch_size=3, shuffle=False))
    found["odd"] = seen(TrainLoader(ITEMS[:11], batch_size=1))
    draw = Draw()
    loader = TrainLoader(ITEMS, batch_size=2, sampler=draw)
    for epoch in (3, 4):
        loader.sampler.set_epoch(epoch)
        found["drawn", epoch] = [item for batch in seen(loader) for item in batch]
    found["epochs"] = draw.epochs
    loader = TrainLoader(ITEMS, batch_size=1, sampler=Backwards())
    loader.sampler.set_epoch(1)
    found["backwards"] = [item for batch in seen(loader) for item in batch]
    found["samplers"] = [type(item.sampler).__name__ for item in (shuffled, loader)]
    return found


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return on_two_processes(work, tmp_path_factory.mktemp("processes"))


def test_shares_are_disjoint_and_together_the_whole_and_drawn_anew(ranks):
    for epoch in (1, 2):
        shares = [[item for batch in rank["shuffled", epoch] for item in batch] for rank in ranks]
        assert [len(share) for share in shares] == [6, 6]
        assert sorted(shares[0] + shares[1]) == ITEMS
    assert ranks[0]["shuffled", 1] != ranks[0]["shuffled", 2]
    assert all(len(batch) == 2 for rank in ranks for batch in rank["shuffled", 1])


def test_two_processes_take_half_the_steps(ranks):
    alone = {(12, 2, False): 6, (12, 4, False): 3, (12, 4, True): 3, (10, 2, False): 5}
    for (items, size, drop), steps in alone.items():
        assert len(TrainLoader(list(range(items)), batch_size=size, drop_last=drop)) == steps
        halved = steps // 2 if drop else -(-steps // 2)
        for rank in ranks:
            assert rank["steps"][items, size, drop] == (halved, halved)


def test_without_shuffling_they_take_turns(ranks):
    assert [rank["ordered"] for rank in ranks] == [[[0, 2, 4], [6, 8, 10]], [[1, 3, 5], [7, 9, 11]]]


def test_one_item_comes_twice_where_they_do_not_divide(ranks):
    shares = [[item for batch in rank["odd"] for item in batch] for rank in ranks]
    assert [len(share) for share in shares] == [6, 6]
    assert set(shares[0] + shares[1]) == set(ITEMS[:11])


def test_a_sampler_hears_of_the_epoch_and_its_draw_is_shared_out(ranks):
    for epoch in (3, 4):
        assert [rank["drawn", epoch] for rank in ranks] == [order(epoch)[0::2], order(epoch)[1::2]]
    assert [rank["epochs"] for rank in ranks] == [[3, 4], [3, 4]]
    assert order(3) != order(4)


def test_a_sampler_without_epochs_is_shared_out_too(ranks):
    assert ranks[0]["backwards"] == [6, 4, 2, 0]
    assert ranks[1]["backwards"] == [5, 3, 1, 6]  # both have as many, so that none waits for the other
    assert all(rank["samplers"] == ["DistributedSampler", "ShareOf"] for rank in ranks)


def test_one_process_alone_takes_all():
    assert sorted(item for batch in seen(TrainLoader(ITEMS, batch_size=5)) for item in batch) == ITEMS
    assert seen(TrainLoader(ITEMS, batch_size=5, shuffle=False)) == [ITEMS[:5], ITEMS[5:10], ITEMS[10:]]
    assert seen(TrainLoader(ITEMS, batch_size=5, shuffle=False, drop_last=True)) == [ITEMS[:5], ITEMS[5:10]]
    loader = TrainLoader(ITEMS, batch_size=12, sampler=Draw())
    assert seen(loader) == [order(0)]
    assert not isinstance(loader.sampler, DistributedSampler | ShareOf)
    torch.manual_seed(0)
    shuffled = TrainLoader(ITEMS, batch_size=12)
    assert seen(shuffled) != seen(shuffled)


def test_a_step_has_an_item_at_least():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        TrainLoader(ITEMS, batch_size=0)


class Numbers(Dataset):
    def __len__(self):
        return 12

    def __getitem__(self, place):
        return place


@pytest.fixture
def rank(request, monkeypatch):
    """This process as one of two."""
    monkeypatch.setattr("monai_ext.data.loader.num_processes", lambda: 2)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda *_: 2)
    monkeypatch.setattr("torch.distributed.get_rank", lambda *_: request.param)
    return request.param


def batches(**options):
    return [batch.tolist() for batch in TrainLoader(Numbers(), 3, **options)]


def test_one_process_takes_whole_batches_in_their_order():
    expected = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert batches(whole_batches=True) == expected
    assert batches() != expected  # shuffled


@pytest.mark.parametrize("rank", [0, 1], indirect=True)
def test_two_processes_share_the_batches(rank):
    expected = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]][rank::2]
    assert batches(whole_batches=True) == expected
    assert len(TrainLoader(Numbers(), 3, whole_batches=True)) == 2


class Slices(Numbers):
    """Twelve slices of one case; the last shows lesion."""

    min_lesion_pixels = 5

    def index(self):
        return np.array([[0, z, 9 * (z == 11)] for z in range(12)])


def drawn():
    loader = TrainLoader(Slices(), 3, iterations=10, lesion_share=0.33)
    torch.manual_seed(0)
    return [batch.tolist() for batch in loader]


def test_an_epoch_has_the_steps_and_each_batch_the_lesion_that_are_asked_for():
    assert [batch[-1] for batch in drawn()] == 10 * [11]
    assert len(TrainLoader(Slices(), 3, lesion_share=0.33)) == 4
    assert len(TrainLoader(Slices(), 3, iterations=7)) == 7


@pytest.mark.parametrize("rank", [0, 1], indirect=True)
def test_two_processes_halve_the_steps(rank):
    found = drawn()
    torch.manual_seed(0)
    assert found == list(ForegroundBatches(Slices(), 3, 10))[rank::2]


def test_an_epoch_starts_no_more_workers_than_it_has_batches():
    loader = TrainLoader(ITEMS, batch_size=8, num_workers=5)
    batches = iter(loader)
    assert len(batches._workers) == 2
    assert sorted(int(item) for batch in batches for item in batch) == ITEMS
