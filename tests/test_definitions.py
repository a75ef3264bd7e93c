import doctest

import definitions
import pytest


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("torch.load", "torch.serialization.load"),
        ("monai_ext.networks.nets.UNet", "monai_ext.networks.nets.unet.UNet"),
        ("monai_ext.bundle_process.os.execvp", "os.execvp"),
        ("torch.utils.cpp_extension.load", "torch.utils.cpp_extension.load"),  # a module that torch does not import
        ("torch.uint8", "torch.uint8"),
        ("math", "math"),
    ],
)
def test_a_name_is_followed_to_where_it_is_defined(name, own):
    assert definitions.defined_as(name) == own


@pytest.mark.parametrize("name", ["torch.nothing", "math.pi.nothing", "monai_ext.nothing.at_all"])
def test_what_does_not_exist_is_an_error(name):
    with pytest.raises(LookupError, match=name):
        definitions.resolve(name)


def test_examples():
    assert doctest.testmod(definitions) == (0, 3)
