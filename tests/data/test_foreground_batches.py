from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from monai_ext.data import ForegroundBatches
from monai_ext.data.foreground_batches import forced_items
from monai_ext.errors import DataError


class Slices(Dataset):
    """Case 0 has 3 lesion slices of 40, case 1 has 1 of 10, case 2 has none of 10."""

    min_lesion_pixels = 5

    def __init__(self, empty=False):
        self.data = [0, 1, 2]
        pixels = [0] * 40 + [0] * 10 + [0] * 10
        if not empty:
            for place, count in {3: 9, 20: 5, 21: 80, 44: 6, 45: 4}.items():
                pixels[place] = count
        cases = [0] * 40 + [1] * 10 + [2] * 10
        self.rows = np.array(list(zip(cases, [*range(40), *range(10), *range(10)], pixels)))

    def index(self):
        return self.rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, place):
        return place


@pytest.mark.parametrize(
    ("batch_size", "share", "forced"),
    # nnU-Net: all from number round(batch_size * (1 - share)) on
    [(2, 0.33, 1), (12, 0.33, 4), (3, 0.33, 1), (9, 0.33, 3), (2, 0.0, 0), (1, 0.1, 1), (2, 1.0, 2), (49, 0.33, 16)],
)
def test_how_many_are_forced(batch_size, share, forced):
    assert forced_items(batch_size, share) == forced


def test_every_batch_has_lesions_and_the_rest_is_any_slice():
    torch.manual_seed(0)
    batches = [batch.tolist() for batch in DataLoader(Slices(), batch_sampler=ForegroundBatches(Slices(), 6, 500))]
    assert len(batches) == 500
    lesions = {3, 20, 21, 44}
    for batch in batches:
        assert len(batch) == 6
        assert set(batch[4:]) <= lesions
    forced = Counter(place for batch in batches for place in batch[4:])
    assert forced[44] / 1000 == pytest.approx(0.5, abs=0.06)  # each patient alike
    assert forced[3] / 1000 == pytest.approx(1 / 6, abs=0.05)
    free = Counter(place for batch in batches for place in batch[:4])
    assert set(free) == set(range(60))
    assert max(free.values()) < 3 * min(free.values())


def test_without_steps_and_force_it_is_a_pass_over_all():
    sampler = ForegroundBatches(Slices(), 7, foreground=0)
    batches = list(sampler)
    assert len(sampler) == len(batches) == 9
    assert sorted(place for batch in batches for place in batch) == list(range(60))
    assert batches != list(sampler)
    assert len(list(ForegroundBatches(Slices(), 7))) == 9


def test_seeds_decide():
    torch.manual_seed(3)
    one = list(ForegroundBatches(Slices(), 4, 5))
    torch.manual_seed(3)
    assert list(ForegroundBatches(Slices(), 4, 5)) == one


def test_no_lesions():
    with pytest.raises(DataError, match="5 lesion pixels"):
        next(iter(ForegroundBatches(Slices(empty=True), 4, 5)))
    assert len(list(ForegroundBatches(Slices(empty=True), 4, 5, foreground=0))) == 5
    with pytest.raises(ValueError, match="iterations 0"):
        ForegroundBatches(Slices(), 4, 0)
