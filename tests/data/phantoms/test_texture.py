import numpy as np
import pytest
from scipy import ndimage, stats

from monai_ext.data.phantoms.texture import _stretch, coil_shading, ellipsoid, random_field, rician
from monai_ext.data.phantoms.volume import Grid

GRID = Grid.centered((48, 40, 24), (1.0, 1.0, 2.0), np.eye(3), np.zeros(3))


@pytest.mark.parametrize("length", [3.0, 8.0])
def test_field_has_unit_variance_and_its_correlation_length(length):
    field = random_field(GRID, length, np.random.default_rng(0))
    assert field.shape == GRID.shape
    assert abs(field.mean()) < 1e-5
    assert field.std() == pytest.approx(1, abs=1e-4)
    # White noise blurred by a Gaussian of sigma s has the correlation exp(-d^2 / 4 s^2) at distance d.
    step = round(length)
    correlation = np.corrcoef(field[step:].ravel(), field[:-step].ravel())[0, 1]
    assert correlation == pytest.approx(np.exp(-0.25), abs=0.25)


@pytest.mark.parametrize("stride", [1.0, 1.7, 6.25])
def test_a_field_is_interpolated_as_scipy_does(stride):
    noise = np.random.default_rng(0).standard_normal((9, 30, 7), dtype=np.float32)
    length = int((noise.shape[1] - 4) * stride)
    expected = ndimage.affine_transform(
        noise.astype(np.float64), np.diag([1, 1 / stride, 1]), (0, 1, 0), (9, length, 7), order=1, mode="nearest"
    )
    np.testing.assert_allclose(_stretch(noise, 1, length, stride), expected, atol=1e-12)


def test_ellipsoid_is_one_on_its_surface_and_has_its_volume():
    offsets = GRID.offsets()
    level = ellipsoid(offsets, (1.0, 2.0, 0.0), (12.0, 10.0, 8.0))
    assert (level < 1).sum() * 2.0 == pytest.approx(4 / 3 * np.pi * 12 * 10 * 8, rel=0.03)
    x = np.float64(13.0)
    assert ellipsoid((x, np.float64(2), np.float64(0)), (1.0, 2.0, 0.0), (12.0, 10.0, 8.0)) == pytest.approx(1)


def test_shading_is_positive_with_mean_one():
    shading = coil_shading(GRID, 0.3, np.random.default_rng(0))
    assert shading.min() > 0
    assert shading.mean() == pytest.approx(1)
    assert np.allclose(coil_shading(GRID, 0.0, np.random.default_rng(0)), 1)


@pytest.mark.parametrize("signal", [0.0, 2.0, 50.0])
def test_noise_is_scipys_rice_distribution(signal):
    found = rician(np.full(20000, signal), 1.5, np.random.default_rng(0))
    due = stats.rice(signal / 1.5, scale=1.5)
    assert stats.kstest(found, due.cdf).pvalue > 0.001
    assert np.array_equal(rician(found, 0, np.random.default_rng(0)), found)
