import pytest
from torch.utils.data import Dataset

from monai_ext.data import TrainLoader


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
    assert batches(batch_sampler=expected[::-1]) == expected[::-1]
    assert batches() != expected  # shuffled


@pytest.mark.parametrize("rank", [0, 1], indirect=True)
def test_two_processes_share_the_batches(rank):
    expected = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]][rank::2]
    assert batches(whole_batches=True) == expected
    assert batches(batch_sampler=[[9, 1], [2, 3], [4, 5]]) == ([[9, 1], [4, 5]] if rank == 0 else [[2, 3], [9, 1]])
    assert len(TrainLoader(Numbers(), 3, whole_batches=True)) == 2
