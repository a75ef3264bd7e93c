import numpy as np
import pytest
import torch

from monai_ext.metrics import change_outside, difference_correlation, removed_share


@pytest.fixture
def scene():
    draws = torch.Generator().manual_seed(0)
    healthy = torch.randn(1, 16, 16, 4, generator=draws)
    lesion = torch.zeros(1, 16, 16, 4, dtype=torch.bool)
    lesion[0, 4:9, 5:11, 1:3] = True
    signal = 1 + 0.2 * torch.randn(healthy.shape, generator=draws)
    return healthy + signal * lesion, healthy, lesion


def test_the_counterfactual_is_perfect_and_the_identity_finds_nothing(scene):
    image, healthy, lesion = scene
    everywhere = torch.ones_like(lesion)
    assert removed_share(image, healthy, healthy, lesion) == pytest.approx(1)
    assert change_outside(image, healthy, ~lesion, 2.0) == 0
    assert difference_correlation(image, healthy, healthy, everywhere) == pytest.approx(1)
    assert removed_share(image, image, healthy, lesion) == 0
    assert change_outside(image, image, ~lesion, 2.0) == 0
    assert np.isnan(difference_correlation(image, image, healthy, everywhere))
    assert np.isnan(removed_share(healthy, image, healthy, lesion))


@pytest.mark.parametrize("share", [-0.5, 0.3, 1.2])
def test_removed_share_is_the_share_whatever_noise_is_added(scene, share):
    image, healthy, lesion = scene
    true = image - healthy
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
    noise -= true * (noise * true).sum() / true.square().sum()  # independent of the lesion's signal
    made = image - share * true - noise
    assert removed_share(image, made, healthy, lesion) == pytest.approx(share, abs=1e-5)
    assert change_outside(image, made, ~lesion, 4.0) == pytest.approx(noise[~lesion].square().mean().sqrt() / 4)


def test_a_constant_reconstruction_is_seen_by_the_change_outside(scene):
    image, healthy, lesion = scene
    constant = torch.full_like(image, image.mean().item())
    assert removed_share(image, constant, healthy, lesion) > 0.5
    assert change_outside(image, constant, ~lesion, 2.0) > 0.4
    assert difference_correlation(image, constant, healthy, torch.ones_like(lesion)) < 0.6
