"""The surroundings of the prostate lie where they belong, on both sides."""

import numpy as np
import pytest

from monai_ext.data.phantoms.pelvis import paint_pelvis
from monai_ext.data.phantoms.texture import ellipsoid
from monai_ext.data.phantoms.tissues import TISSUES, Scene
from monai_ext.data.phantoms.volume import Grid

GRID = Grid.centered((90, 80, 40), (2.2, 2.2, 3.5), np.diag([-1.0, -1.0, 1.0]), np.zeros(3))
GLAND = (25.0, 18.0, 20.0)  # mm


def painted(seed, half_axes=GLAND):
    scene, rng = Scene(GRID.shape, "fat"), np.random.default_rng(seed)
    paint_pelvis(scene, GRID, GRID.offsets(), half_axes, rng)
    return scene, rng


@pytest.fixture(scope="module", params=[0, 1, 2])
def scene(request):
    return painted(request.param)[0]


def voxels(scene, tissue):
    """Where a tissue of a density of its own was painted with its full weight."""
    density = np.float32(TISSUES[tissue].density)
    return np.isclose(scene.density, density) & np.isclose(scene.unsuppressed, np.float32(TISSUES[tissue].unsuppressed))


def middle(where):
    return np.array([np.broadcast_to(axis, where.shape)[where].mean() for axis in GRID.offsets()])


def test_the_bladder_is_above_and_the_rectum_behind_the_gland(scene):
    urine = np.isclose(scene.t2, TISSUES["urine"].t2)
    assert urine.any()
    assert middle(urine)[2] > GLAND[2]
    assert abs(middle(urine)[0]) < 3
    rectum = voxels(scene, "gas") | voxels(scene, "stool")
    assert rectum.any()
    x, y, _ = middle(rectum)
    assert y > GLAND[1]
    assert abs(x) < 12


def test_bones_and_muscles_are_on_both_sides(scene):
    x = np.broadcast_to(GRID.offsets()[0], GRID.shape)
    for tissue in ("marrow", "muscle"):
        left, right = (np.count_nonzero(voxels(scene, tissue) & (side * x > 0)) for side in (-1, 1))
        assert min(left, right) > 300
        assert 0.7 < left / right < 1.4, tissue
    marrow = voxels(scene, "marrow")
    assert np.abs(x[marrow]).max() > 80  # the hips


def test_marrow_lies_within_cortical_bone(scene):
    bone = voxels(scene, "marrow") | voxels(scene, "cortex")
    marrow = voxels(scene, "marrow")
    # Away from the edges of the image, the neighbours of marrow along the sagittal axis are bone.
    inner = marrow[2:-2]
    share = (bone[1:-3] & bone[3:-1])[inner].mean()
    assert share > 0.97


def test_veins_lie_around_the_gland_not_in_it(scene):
    gland = ellipsoid(GRID.offsets(), (0, 0, 0), GLAND)
    vein = np.isclose(scene.t2, TISSUES["vein"].t2) & np.isclose(scene.adc, TISSUES["vein"].adc)
    plexus = vein & (gland < 1.8)
    assert plexus.any()
    assert gland[plexus].min() > 1


def test_values_are_those_of_tissues(scene):
    t2 = [tissue.t2 for tissue in TISSUES.values()]
    assert np.isfinite(scene.t2).all()
    assert scene.t2.min() >= min(t2) * 0.89
    assert scene.t2.max() <= max(t2)
    assert ((scene.density > 0) & (scene.density <= 1)).all()


def test_a_seed_is_a_patient_and_the_veins_draw_nothing_of_it():
    (first, rng), (again, _), (other, _) = painted(0), painted(0), painted(1)
    assert np.array_equal(first.t2, again.t2)
    assert not np.array_equal(first.t2, other.t2)
    _, wider = painted(0, (27.0, 18.0, 20.0))
    assert rng.bit_generator.state == wider.bit_generator.state
