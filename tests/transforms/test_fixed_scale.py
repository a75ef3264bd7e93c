"""One scale for all scans of a set."""

import numpy as np
import pytest
import torch

from monai_ext.transforms.fixed_scale import FixedScale


def test_clips_then_scales():
    found = FixedScale(-100.0, 300.0, 50.0, 25.0)(torch.tensor([-1000.0, 50.0, 75.0, 400.0]))
    assert found.tolist() == [-6.0, 0.0, 1.0, 10.0]


def test_a_value_means_the_same_whatever_else_the_scan_shows():
    scale = FixedScale(0.0, 10.0, 2.0, 4.0)
    assert scale(torch.tensor([3.0])) == scale(torch.tensor([3.0, 1e6, -1e6]))[0]


def test_of_the_logarithm_a_doubling_is_a_step():
    scale = FixedScale(0.0, 15.0, 1.0, 0.5, log=True)
    found = scale(torch.tensor([-3.0, 0.0, 1.0, 3.0, 7.0, 15.0, 99.0]))
    assert found.numpy() == pytest.approx((np.log(2.0) * np.array([0, 0, 1, 2, 3, 4, 4]) - 1.0) / 0.5, abs=1e-6)


@pytest.mark.parametrize("numbers", [(1, 1, 0, 1), (2, 1, 0, 1), (0, 1, 0, 0), (0, 1, 0, -1), (-1, 1, 0, 1, True)])
def test_refuses_an_empty_range_and_no_spread(numbers):
    with pytest.raises(ValueError, match="low < high and std > 0"):
        FixedScale(*numbers)(torch.zeros(1))
