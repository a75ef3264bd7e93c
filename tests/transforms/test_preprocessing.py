import pytest

from monai_ext import transforms
from monai_ext.transforms.preprocessing import Preprocessing


class Shift(Preprocessing):
    def __call__(self, data):
        return data + 1


def test_it_is_a_list_of_itself():
    shift = Shift()
    assert list(shift) == [shift]
    value = 0
    for step in shift:  # as MONAI Label goes through a bundle's preprocessing
        value = step(value)
    assert value == 1


@pytest.mark.parametrize(
    "name", [n for n in transforms.__all__ if n.endswith("Preprocessing") and n != "GlandPreprocessing"]
)
def test_what_bundles_are_served_with_is_one(name):
    assert issubclass(getattr(transforms, name), Preprocessing)
