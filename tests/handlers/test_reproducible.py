import random

import numpy as np
import torch
from ignite.engine import Engine
from monai.data import DataLoader, Dataset
from monai.transforms import RandGaussianNoise

from monai_ext.handlers.reproducible import SeedEpochs, random_state, set_random_state


class Epochs(Dataset):
    epochs: list

    def set_epoch(self, epoch):
        self.epochs = [*getattr(self, "epochs", []), epoch]


def draws(seed, rank, first, last):
    """Numbers of every source in each epoch of a run that goes on at epoch ``first``."""
    found = {}
    dataset = Epochs([torch.zeros(4)], RandGaussianNoise(prob=1.0))
    dataset.transform.set_random_state(int(np.random.default_rng().integers(1000)))

    def step(engine, batch):
        found[engine.state.epoch] = (random.random(), np.random.rand(), torch.rand(1).item(), float(batch.sum()))

    engine = Engine(step)
    engine.data_loader, engine.state.rank = DataLoader(dataset), rank
    SeedEpochs(seed).attach(engine)
    engine.state.epoch, engine.state.max_epochs = first - 1, None
    engine.load_state_dict({"epoch": first - 1, "max_epochs": last, "epoch_length": 1})
    engine.run(engine.data_loader, max_epochs=last)
    assert dataset.epochs == list(range(first, last + 1))
    return found


def test_resumed_run_draws_what_the_uninterrupted_one_did():
    whole = draws(3, 0, 1, 4)
    random.seed(99)
    assert draws(3, 0, 3, 4) == {epoch: whole[epoch] for epoch in (3, 4)}


def test_seed_rank_and_epoch_each_matter():
    one = draws(3, 0, 1, 2)
    assert len({one[1], one[2], draws(4, 0, 1, 1)[1], draws(3, 1, 1, 1)[1]}) == 4


def test_random_numbers_go_on_after_a_state_that_was_saved(tmp_path):
    def draw():
        return random.random(), random.gauss(0, 1), np.random.rand(), torch.rand(1).item()

    random.gauss(0, 1)  # Python keeps the second of a pair
    torch.save(random_state(), tmp_path / "state.pt")
    expected = draw()
    assert draw() != expected
    set_random_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert draw() == expected
