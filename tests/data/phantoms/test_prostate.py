"""The gland: its zones, its size, and lesions that are dark, in one piece and inside it."""

import numpy as np
import pytest
from scipy import ndimage

from monai_ext.data.phantoms.prostate import Prostate, paint_lesion, paint_prostate
from monai_ext.data.phantoms.tissues import TISSUES, Scene
from monai_ext.data.phantoms.volume import Grid

SPACING = (1.0, 1.0, 2.0)
GRID = Grid.centered((72, 56, 32), SPACING, np.diag([-1.0, -1.0, 1.0]), np.zeros(3))
HALF_AXES = (25.0, 18.0, 20.0)


def painted(seed):
    scene, rng = Scene(GRID.shape, "fat"), np.random.default_rng(seed)
    return scene, paint_prostate(scene, GRID, GRID.offsets(), HALF_AXES, rng), rng


@pytest.fixture(scope="module", params=[0, 1, 2])
def case(request):
    return painted(request.param)


def along(axis, where):
    return np.broadcast_to(GRID.offsets()[axis], where.shape)[where]


def test_the_two_zones_are_the_gland(case):
    _, prostate, _ = case
    gland = prostate.level < 1
    assert np.array_equal(prostate.peripheral | prostate.transition, gland)
    assert not (prostate.peripheral & prostate.transition).any()
    assert min(prostate.peripheral.sum(), prostate.transition.sum()) > 0.15 * gland.sum()
    assert ndimage.label(gland)[1] == 1


def test_the_gland_has_the_size_of_its_half_axes(case):
    gland = case[1].level < 1
    volume = np.count_nonzero(gland) * np.prod(SPACING)
    # A superellipsoid of power 2.3 holds 8 (abc) G(1 + 1/p)^3 / G(1 + 3/p) = 1.13 times the ellipsoid.
    assert 0.85 < volume / (4 / 3 * np.pi * np.prod(HALF_AXES)) < 1.25
    for axis, half in enumerate(HALF_AXES):
        assert np.ptp(along(axis, gland)) < 2 * 1.25 * half


def test_the_peripheral_zone_is_behind_and_brighter(case):
    scene, prostate, _ = case
    assert along(1, prostate.peripheral).mean() > along(1, prostate.transition).mean() + 4
    assert abs(along(0, prostate.peripheral).mean()) < 3
    assert np.median(scene.t2[prostate.peripheral]) > np.median(scene.t2[prostate.transition])
    assert np.median(scene.adc[prostate.peripheral]) > np.median(scene.adc[prostate.transition])


def test_nothing_is_painted_outside(case):
    scene, prostate, _ = case
    outside = prostate.level >= 1
    assert (scene.t2[outside] == TISSUES["fat"].t2).all()
    assert (scene.adc[outside] == TISSUES["fat"].adc).all()


def test_transition_zone_holds_nodules_and_a_dark_capsule_surrounds_the_gland(case):
    scene, prostate, _ = case
    assert scene.t2[prostate.transition].std() > 15
    edge = (prostate.level > 0.95) & (prostate.level < 1)
    assert np.median(scene.t2[edge]) == pytest.approx(1.1 * TISSUES["capsule"].t2, rel=1e-5)


def test_a_lesion_is_one_piece_in_the_gland_and_dark(case):
    _, prostate, _ = case
    inside = prostate.level < 1
    for seed in range(6):
        scene, again, _ = painted(3)
        before = scene.t2.copy(), scene.adc.copy()
        lesion = paint_lesion(scene, GRID, GRID.offsets(), again, np.random.default_rng(seed))
        assert lesion.any()
        assert not (lesion & (again.level >= 1)).any()
        assert ndimage.label(lesion)[1] == 1
        extent = [(s.stop - s.start) * size for s, size in zip(ndimage.find_objects(lesion)[0], SPACING)]
        assert max(extent) < 18 * 1.6
        # It mixes what was there with its own values, and changes nothing outside of the gland.
        bright = lesion & (before[1] > 1.3 * TISSUES["lesion"].adc)
        assert scene.adc[bright].mean() < before[1][bright].mean() - 50
        changed = (scene.t2 != before[0]) | (scene.adc != before[1])
        assert not (changed & (again.level >= 1)).any()
        assert changed[lesion].mean() > 0.9
    assert inside.any()


def test_seven_of_ten_lesions_are_in_the_peripheral_zone():
    scene, prostate, _ = painted(0)
    masks = [paint_lesion(scene, GRID, GRID.offsets(), prostate, np.random.default_rng(seed)) for seed in range(60)]
    centers = [ndimage.center_of_mass(mask) for mask in masks if mask.any()]
    share = np.mean([prostate.peripheral[tuple(np.round(center).astype(int))] for center in centers])
    assert 0.5 < share < 0.9  # three standard errors and a half


def test_a_lesion_outside_of_the_gland_is_empty():
    scene, prostate, _ = painted(0)
    away = Prostate(np.full(GRID.shape, 2.0), prostate.peripheral, prostate.transition)
    lesion = paint_lesion(scene, GRID, GRID.offsets(), away, np.random.default_rng(0))
    assert lesion.dtype == bool
    assert not lesion.any()


def test_a_seed_is_a_patient():
    (first, gland, _), (again, _, _), (other, another, _) = painted(0), painted(0), painted(1)
    assert np.array_equal(first.t2, again.t2)
    assert not np.array_equal(first.t2, other.t2)
    assert not np.array_equal(gland.transition, another.transition)
