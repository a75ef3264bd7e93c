import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from monai_ext.networks.blocks.padding import check_size, crop_like, pad_to_multiple, padded_size

SIDES = st.integers(1, 40)


@given(st.tuples(SIDES, SIDES, SIDES), st.integers(1, 32))
def test_padded_size_is_the_smallest_multiple(size, multiple):
    for side, padded in zip(size, padded_size(size, multiple)):
        assert padded % multiple == 0
        assert side <= padded < side + multiple


@given(SIDES, SIDES, st.integers(1, 16))
def test_padding_repeats_the_border_and_is_undone(height, width, multiple):
    image = torch.rand(1, 2, height, width)
    padded = pad_to_multiple(image, multiple)
    assert padded.shape[2:] == padded_size((height, width), multiple)
    due = np.pad(image.numpy(), [(0, 0), (0, 0), (0, -height % multiple), (0, -width % multiple)], mode="edge")
    np.testing.assert_array_equal(padded.numpy(), due)
    assert torch.equal(crop_like(padded, image), image)


def test_another_size_is_refused():
    check_size(torch.zeros(2, 1, 8, 6), [8, 6])
    with pytest.raises(ValueError, match=r"\(8, 8\).*\(2, 1, 8, 6\)"):
        check_size(torch.zeros(2, 1, 8, 6), (8, 8))
