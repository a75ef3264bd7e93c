import pytest
import torch
from torch import nn

from monai_ext.errors import CheckpointError
from monai_ext.inferers import EnsembleInferer, SlidingWindow


@pytest.fixture
def folds(tmp_path):
    nets = []
    for fold in range(3):
        torch.manual_seed(fold)
        nets.append(nn.Conv3d(2, 2, 3, padding=1).eval())
        torch.save({"model": nets[-1].state_dict()}, tmp_path / f"fold{fold}.pt")
    return nets, [tmp_path / f"fold{fold}.pt" for fold in range(3)]


def test_mean_of_the_probabilities(folds):
    nets, paths = folds
    window = SlidingWindow((8, 8, 8), mirror=(0,), amp=False)
    image = torch.randn(1, 2, 12, 9, 10)
    given = nn.Conv3d(2, 2, 3, padding=1).eval()
    before = given.weight.clone()
    found = EnsembleInferer(window, paths)(image, given).softmax(1)
    expected = torch.stack([window(image, net).softmax(1) for net in nets]).mean(0)
    torch.testing.assert_close(found, expected)
    assert torch.equal(given.weight, before)


def test_without_weights_and_in_training_it_is_the_inferer(folds):
    nets, paths = folds
    window, image = SlidingWindow((8, 8, 8), amp=False), torch.randn(1, 2, 8, 8, 8)
    assert torch.equal(EnsembleInferer(window)(image, nets[0]), window(image, nets[0]))
    nets[0].train()
    assert torch.equal(EnsembleInferer(window, paths)(image, nets[0]), nets[0](image))


def test_weights_of_another_network_are_refused(tmp_path, folds):
    torch.save(nn.Conv3d(3, 2, 3).state_dict(), tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"other\.pt"):
        EnsembleInferer(SlidingWindow((8, 8, 8)), [tmp_path / "other.pt"])(torch.randn(1, 2, 8, 8, 8), folds[0][0])
