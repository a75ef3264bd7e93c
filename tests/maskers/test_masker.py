import itertools

import pytest
import torch
from torch import Generator

from monai_ext.maskers import RandomMasker, mask_all_but, weighted_sample


def successive_draws(weights, count):
    """Probability that each patch is among ``count`` successive draws without replacement, by enumeration."""
    keep = torch.zeros(len(weights))
    for order in itertools.permutations(range(len(weights)), count):
        left, probability = sum(weights), 1.0
        for i in order:
            probability *= weights[i] / left
            left -= weights[i]
        keep[list(order)] += probability
    return keep


def test_weighted_sample_has_the_distribution_of_successive_draws():
    weights = [1.0, 2.0, 5.0, 0.5, 1.5]
    drawn = weighted_sample(torch.tensor(weights).expand(40_000, -1), 3, Generator().manual_seed(0))
    assert all(len(set(row)) == 3 for row in drawn[:100].tolist())
    share = torch.bincount(drawn.flatten(), minlength=5) / 40_000
    assert torch.allclose(share, successive_draws(weights, 3), atol=0.01)


def test_patches_of_weight_zero_are_never_drawn():
    drawn = weighted_sample(torch.tensor([[0.0, 1.0, 1.0, 0.0]]).expand(500, -1), 2, Generator().manual_seed(0))
    assert set(drawn.flatten().tolist()) == {1, 2}


def test_mask_hides_all_but_the_kept():
    mask = mask_all_but(torch.tensor([[2, 0], [1, 3]]), 5)
    assert mask.tolist() == [[False, True, False, True, True], [True, False, True, False, True]]


def test_random_masker_counts_seeds_and_uniformity():
    masker, batch = RandomMasker(121), {"image": torch.zeros(5000, 1, 1, 1)}
    mask = masker(batch, generator=Generator().manual_seed(3))
    assert mask.dtype == torch.bool
    assert set((~mask).sum(1).tolist()) == {30}
    assert torch.equal(mask, masker(batch, generator=Generator().manual_seed(3)))
    assert ((~mask).float().mean(0) - 30 / 121).abs().max() < 0.03


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_ratio_must_hide_some_and_keep_some(ratio):
    with pytest.raises(ValueError, match=str(ratio)):
        RandomMasker(16, ratio)
