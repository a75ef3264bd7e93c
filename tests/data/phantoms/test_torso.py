"""The torso: every organ where anatomy has it, with its HU, and contrast agent in three of four patients."""

import numpy as np
import pytest

from monai_ext.data.phantoms.body import Body
from monai_ext.data.phantoms.torso import ORGANS, TISSUES, Torso, torso_tissues
from monai_ext.data.phantoms.volume import Grid

NUMBER = {name: number for number, name in ORGANS.items()}


def grid_and_offsets():
    grid = Grid.centered((88, 64, 92), (4.5, 4.5, 5.0), np.diag([-1.0, -1.0, 1.0]), np.zeros(3))
    return grid, tuple(np.broadcast_to(axis, grid.shape) for axis in grid.offsets())


def painted(seed):
    grid, at = grid_and_offsets()
    rng = np.random.default_rng(seed)
    body = Body(grid.shape, torso_tissues(rng))
    torso = Torso(body, grid, at, rng)
    torso.paint()
    return torso


@pytest.fixture(scope="module", params=[0, 1])
def torso(request):
    return painted(request.param)


def middle(torso, name):
    """Mean place of an organ: mm to the left, posterior and superior."""
    where = torso.label == NUMBER[name]
    return [float(np.broadcast_to(axis, where.shape)[where].mean()) for axis in torso.at]


def test_every_organ_is_there_inside_the_body(torso):
    assert set(np.unique(torso.label)) == {0, *ORGANS}
    outline = torso.outline[torso.label > 0]
    assert (outline < 1).mean() > 0.999
    assert outline.max() < 1.05  # the tips of some vertebrae reach the skin of the thin
    assert (torso.body.hu[torso.outline > 1.001] == TISSUES["air"][0]).mean() > 0.99
    assert (torso.body.suv[torso.outline > 1.001] == TISSUES["air"][2]).mean() > 0.99


def test_organs_lie_where_anatomy_has_them(torso):
    places = {name: middle(torso, name) for name in NUMBER}
    for name, side in (("liver", -1), ("kidney_right", -1), ("spleen", 1), ("kidney_left", 1), ("stomach", 1)):
        assert places[name][0] * side > 5, name
    assert abs(places["vertebrae"][0]) < 5
    assert abs(places["urinary_bladder"][0]) < 10
    height = {name: place[2] for name, place in places.items()}
    assert height["lung"] > height["liver"] > height["kidney_right"] > height["urinary_bladder"]
    depth = {name: place[1] for name, place in places.items()}
    assert depth["vertebrae"] > depth["aorta"] > depth["pancreas"]  # from the back to the front


def test_organs_have_the_hu_of_their_tissue(torso):
    table, hu = torso.body.tissues, torso.body.hu
    for name, tissue in (("liver", "liver"), ("spleen", "spleen"), ("pancreas", "pancreas"), ("lung", "lung")):
        assert np.median(hu[torso.label == NUMBER[name]]) == pytest.approx(table[tissue][0]), name
    assert np.median(hu[torso.label == NUMBER["urinary_bladder"]]) == pytest.approx(table["urine"][0])
    assert hu[torso.label == NUMBER["lung"]].mean() < -600
    assert hu[torso.label == NUMBER["vertebrae"]].min() > 100


def test_organs_have_a_human_size(torso):
    ml = 4.5 * 4.5 * 5 / 1000
    size = {name: ml * np.count_nonzero(torso.label == number) for name, number in NUMBER.items()}
    for name, low, high in (("liver", 700, 2600), ("spleen", 80, 500), ("kidney_left", 70, 350), ("lung", 1200, 6500)):
        assert low < size[name] < high, (name, size[name])
    assert 0.6 < size["kidney_left"] / size["kidney_right"] < 1.7


def test_a_seed_is_a_patient():
    first, again, other = painted(0), painted(0), painted(1)
    assert np.array_equal(first.label, again.label)
    assert np.array_equal(first.body.hu, again.body.hu)
    assert not np.array_equal(first.label, other.label)


def test_a_quarter_of_patients_have_no_contrast_agent_and_air_never_has():
    tables = [torso_tissues(np.random.default_rng(seed)) for seed in range(400)]
    blood = np.array([table["blood"][0] for table in tables])
    without = (blood < 62).mean()  # 42 HU and its spread, else at least half the agent's 105 HU more
    assert 0.17 < without < 0.33  # four standard errors
    kidney = np.array([table["kidney"][0] for table in tables])
    assert np.corrcoef(blood, kidney)[0, 1] > 0.8  # one agent reaches both
    for name in ("air", "cortical bone", "fat"):
        assert np.std([table[name][0] for table in tables]) < 2
    assert all(table["liver"][1:] == TISSUES["liver"][2:] for table in tables)


def test_a_blob_is_an_ellipsoid_that_is_computed_only_nearby():
    grid, at = grid_and_offsets()
    torso = Torso(Body(grid.shape, TISSUES_OF_ONE), grid, at, np.random.default_rng(0))
    level = torso.blob((20, -10, 30), (40, 30, 50))
    inside = level < 1
    ml = np.count_nonzero(inside) * 4.5 * 4.5 * 5 / 1000
    assert 0.88**3 * 0.98 < ml / (4 / 3 * np.pi * 40 * 30 * 50 / 1000) < 1.14**3 * 1.02
    for axis, center in zip(at, (20, -10, 30)):
        assert abs(np.broadcast_to(axis, grid.shape)[inside].mean() - center) < 5
    assert np.isinf(level).mean() > 0.5
    assert np.isinf(torso.blob((5000, 0, 0), (10, 10, 10))).all()


TISSUES_OF_ONE = torso_tissues(np.random.default_rng(0))


def test_what_is_filled_takes_the_label_of_its_organ_or_loses_its_own():
    grid, at = grid_and_offsets()
    torso = Torso(Body(grid.shape, TISSUES_OF_ONE), grid, at, np.random.default_rng(0))
    where = np.zeros(grid.shape, bool)
    where[10:20, 10:20, 10:20] = True
    torso.fill(where, "liver", "liver", uptake=2.0)
    assert np.array_equal(torso.label == NUMBER["liver"], where)
    assert torso.body.suv[12, 12, 12] == 2 * TISSUES_OF_ONE["liver"][1]
    where[15:] = False
    torso.fill(where, "gas")
    assert torso.label[12, 12, 12] == 0
    assert torso.label[17, 12, 12] == NUMBER["liver"]
