import sys

import numpy as np
import pytest
import torch

from monai_ext.errors import ConfigError
from monai_ext.networks.blocks.host_clustering import METHODS, split_on_host


@pytest.fixture(scope="module")
def blobs():
    """Two images of 40 points in two clouds, the larger one denser; every fifth point is not to be used."""
    generator = torch.Generator().manual_seed(0)
    member = torch.arange(40) % 4 == 0
    points = torch.randn(2, 40, 6, generator=generator) * 0.3 + 8 * member[:, None]
    return points, member, (torch.arange(40) % 5 > 0).expand(2, -1)


@pytest.mark.parametrize("method", METHODS)
def test_two_clouds_are_told_apart(blobs, method):
    points, member, valid = blobs
    found = split_on_host(points, valid, method)
    assert found.dtype == torch.bool
    assert not found[~valid].any()
    for row, use in zip(found, valid):
        agree = (row == member)[use].float().mean().item()
        assert max(agree, 1 - agree) > 0.8


@pytest.mark.parametrize("method", METHODS)
def test_images_do_not_depend_on_each_other(blobs, method):
    points, _, valid = blobs
    both = split_on_host(points, valid, method)
    assert torch.equal(split_on_host(points[1:], valid[1:], method), both[1:])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_and_equal_points_are_no_error(method, count):
    valid = torch.zeros(1, 10, dtype=torch.bool)
    valid[:, :count] = True
    points = torch.randn(1, 10, 3, generator=torch.Generator().manual_seed(0))
    assert not (split_on_host(points, valid, method) & ~valid).any()
    assert not split_on_host(torch.ones(1, 10, 3), torch.ones(1, 10, dtype=torch.bool), method).any()


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ConfigError, match="pip install scikit-learn"):
        split_on_host(torch.from_numpy(np.eye(3, dtype=np.float32))[None], torch.ones(1, 3, dtype=torch.bool), "tsne")
