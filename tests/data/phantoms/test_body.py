import numpy as np
import pytest

from monai_ext.data.phantoms.body import Body, acquire_ct, acquire_pet
from monai_ext.data.phantoms.volume import Grid

TISSUES = {"air": (-1000, 0, 0), "soft": (40, 1.5, 0), "liver": (60, 4.0, 0.1)}
GRID = Grid.centered((40, 40, 40), (2.0, 2.0, 2.0), np.eye(3), np.zeros(3))


@pytest.fixture
def body():
    found = Body(GRID.shape, TISSUES)
    box = np.zeros(GRID.shape, bool)
    box[5:35, 5:35, 5:35] = True
    found.paint(box, "soft")
    box[:] = False
    box[15:25, 15:25, 15:25] = True
    found.paint(box, "liver", uptake=2.0)
    return found


def test_body_begins_as_air_and_is_painted_over(body):
    for values, found in (((-1000, 40, 60), body.hu), ((0, 1.5, 8), body.suv), ((0, 0, 0.1), body.spread)):
        assert (found[0, 0, 0], found[7, 7, 7], found[20, 20, 20]) == values


def test_ct_without_texture_and_noise_is_the_body(body):
    ct = acquire_ct(body, GRID, np.zeros(GRID.shape), 0.0, np.random.default_rng(0))
    np.testing.assert_allclose(ct, body.hu, atol=3)  # blurred by half a millimetre
    noisy = acquire_ct(body, GRID, np.zeros(GRID.shape), 20.0, np.random.default_rng(0)) - ct
    assert noisy.std() == pytest.approx(20, rel=0.02)


def test_texture_is_of_tissue_not_of_air(body):
    flat, rough = (acquire_ct(body, GRID, np.full(GRID.shape, t), 0.0, np.random.default_rng(0)) for t in (0.0, 1.0))
    assert (rough - flat)[0, 0, 0] == pytest.approx(0, abs=1e-6)
    assert (rough - flat)[20, 20, 20] == pytest.approx(12, abs=1e-3)


def test_pet_keeps_the_total_uptake_and_blurs_it(body):
    pet = acquire_pet(body, GRID, GRID, np.zeros(GRID.shape), 0.0, np.random.default_rng(0))
    assert pet.sum() == pytest.approx(body.suv.sum(), rel=1e-3)
    assert pet.max() == pytest.approx(8, rel=0.01)
    assert 1.5 < pet[15, 20, 20] < 8  # an edge of the liver
    coarse = Grid.centered((20, 20, 20), (4.0, 4.0, 4.0), np.eye(3), np.zeros(3))
    found = acquire_pet(body, GRID, coarse, np.zeros(GRID.shape), 1.0, np.random.default_rng(0))
    assert found.shape == (20, 20, 20)
    assert found.min() >= 0
    assert found.sum() * 8 == pytest.approx(body.suv.sum(), rel=0.02)
