import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from monai_ext.transforms import anomaly_map

SPACING = (0.5, 0.5, 3.0)


def volume(seed=0, shape=(1, 20, 22, 6)):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def ellipsoid(shape=(1, 20, 22, 6)):
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in shape[1:]], indexing="ij")
    return (sum(a**2 for a in axes) < 0.8)[None]


@pytest.mark.parametrize("signed", [False, True])
def test_equals_scipy_on_a_whole_volume(signed):
    image, reconstruction = volume(0), volume(1)
    difference = (image - reconstruction)[0].double().numpy()
    difference = difference if signed else np.abs(difference)
    sigma = [1.15 / mm for mm in SPACING]
    blur = {"sigma": sigma, "mode": "constant", "truncate": 4.0}
    expected = gaussian_filter(difference, **blur) / gaussian_filter(np.ones_like(difference), **blur)
    found = anomaly_map(image, reconstruction, spacing=SPACING, signed=signed)
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-5)


def test_gland_equals_a_brute_force_average():
    image, reconstruction, gland = volume(0, (1, 7, 6, 3)), volume(1, (1, 7, 6, 3)), ellipsoid((1, 7, 6, 3))
    found = anomaly_map(image, reconstruction, gland, SPACING, sigma=(0.6, 0.4, 2.0))
    sigma = [s / mm for s, mm in zip((0.6, 0.4, 2.0), SPACING)]
    tail = [int(max(4 * s, 0.5) + 0.5) for s in sigma]
    points = gland[0].nonzero()
    for p in points[::5]:
        total = weight = 0.0
        for q in points:
            step = (q - p).tolist()
            if all(abs(d) <= t for d, t in zip(step, tail)):
                w = math.exp(-sum(d * d / (2 * s * s) for d, s in zip(step, sigma)))
                total += w * (image - reconstruction)[0][tuple(q)].abs().item()
                weight += w
        assert found[0][tuple(p)].item() == pytest.approx(total / weight, rel=1e-4)


def test_properties():
    image, gland = volume(), ellipsoid()
    # A perfect reconstruction leaves nothing.
    assert anomaly_map(image, image, gland, SPACING).abs().max() == 0
    # A constant difference stays constant up to the capsule, and nothing is left outside.
    for signed, value in ((False, 0.3), (True, -0.3)):
        found = anomaly_map(image - 0.3, image, gland, SPACING, signed=signed)
        torch.testing.assert_close(found[gland], torch.full_like(found[gland], value))
        assert (found[~gland] == 0).all()
    # What lies outside the gland has no influence, even if it is not a number.
    other = torch.where(gland, image, torch.tensor(math.nan))
    assert torch.equal(anomaly_map(other, volume(1), gland, SPACING), anomaly_map(image, volume(1), gland, SPACING))
    # |x - G| does not know the direction, the signed map turns over.
    a, b = image, volume(1)
    assert torch.equal(anomaly_map(a, b, gland, SPACING), anomaly_map(b, a, gland, SPACING))
    signed = anomaly_map(a, b, gland, SPACING, signed=True)
    torch.testing.assert_close(signed, -anomaly_map(b, a, gland, SPACING, signed=True))


def test_no_blur_is_the_difference_and_in_plane_blur_keeps_slices_apart():
    image, reconstruction, gland = volume(0), volume(1), ellipsoid()
    plain = anomaly_map(image, reconstruction, gland, SPACING, sigma=0)
    torch.testing.assert_close(plain, (image - reconstruction).abs() * gland)
    changed = reconstruction.clone()
    changed[..., 2] += 1
    moved = (
        anomaly_map(image, reconstruction, gland, SPACING, sigma=(1, 1, 0))
        - anomaly_map(image, changed, gland, SPACING, sigma=(1, 1, 0))
    ).abs().amax((0, 1, 2))  # fmt: skip
    assert (moved > 0).tolist() == [i == 2 for i in range(6)]


def test_the_blur_is_centred_and_in_mm():
    """A point stays where it is, and has the same width in mm at any resolution."""
    for mm, n in ((0.5, 41), (1.0, 21)):
        point = torch.zeros(1, n, n)
        point[0, n // 2, n // 2] = 1
        found = anomaly_map(point, torch.zeros_like(point), spacing=(mm, mm), sigma=1.5)[0]
        axis = (torch.arange(n) - n // 2) * mm
        line = found.sum(0) / found.sum()
        assert (line * axis).sum().abs() < 1e-5
        assert (line * axis**2).sum().sqrt().item() == pytest.approx(1.5, rel=0.02)


@pytest.mark.parametrize(
    "kwargs", [{"spacing": (1, 1)}, {"spacing": (1, 1, 0)}, {"sigma": -1.0}, {"gland": torch.ones(1, 2, 2, 2)}]
)
def test_wrong_arguments(kwargs):
    with pytest.raises(ValueError, match=r"fit|shape"):
        anomaly_map(volume(0), volume(1), **kwargs)
