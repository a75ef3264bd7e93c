"""The device of the tests that need a GPU. ``MONAI_EXT_TEST_DEVICE=cpu`` runs them without one, to test the tests."""

import os

import pytest
import torch


@pytest.fixture(scope="session")
def device():
    name = os.environ.get("MONAI_EXT_TEST_DEVICE", "cuda")
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return name
