import math

import pytest
import torch

from monai_ext.networks.blocks import sincos_positions


def test_equals_the_formula():
    table = sincos_positions((3, 4), 16)
    for row in range(3):
        for column in range(4):
            expected = []
            for position in (column, row):
                angles = [position / 10000 ** (k / 4) for k in range(4)]
                expected += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
            assert torch.allclose(table[row * 4 + column], torch.tensor(expected), atol=1e-6)


def test_every_place_of_a_volume_has_its_own_code():
    table = sincos_positions((4, 3, 5), 48)
    distances = torch.cdist(table, table) + torch.eye(60) * 9
    assert distances.min() > 0.1


def test_dim_must_divide():
    with pytest.raises(ValueError, match="10"):
        sincos_positions((2, 2), 10)
