import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.ndimage import affine_transform, map_coordinates

from monai_ext.transforms.resample import coverage, interpolate_onto, onto_grid, resample_labels


def labels(shape=(14, 12, 10), classes=5, seed=0):
    """Blocks of classes, with background between."""
    coarse = torch.randint(classes, [-(-n // 3) for n in shape], generator=torch.Generator().manual_seed(seed))
    fine = coarse.repeat_interleave(3, 0).repeat_interleave(3, 1).repeat_interleave(3, 2)
    return fine[: shape[0], : shape[1], : shape[2]].to(torch.uint8)


def affine(scale, shift, turn=0.0):
    result = torch.eye(4, dtype=torch.float64)
    c, s = np.cos(turn), np.sin(turn)
    rotation = torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]], dtype=torch.float64)
    result[:3, :3] = rotation @ torch.diag(torch.tensor(scale, dtype=torch.float64))
    result[:3, 3] = torch.tensor(shift, dtype=torch.float64)
    return result


@pytest.mark.parametrize(
    ("new_affine", "shape"),
    [
        (affine((1.1, 0.9, 1.3), (2.1, -1.2, 0.4)), (30, 25, 14)),  # finer
        (affine((-3.1, 2.9, 3.3), (20.3, -1.2, 0.4)), (8, 9, 7)),  # coarser, one axis turned round
        (affine((1.3, 1.2, 1.1), (-5.3, -4.1, -3.2), 0.3), (32, 30, 22)),  # oblique, larger than the old grid
    ],
)
def test_equals_scipy_class_by_class(new_affine, shape):
    old_affine, old = affine((2, 2, 2), (0, 0, 0)), labels()
    voxels = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1).reshape(-1, 3)
    world = voxels @ new_affine[:3, :3].numpy().T + new_affine[:3, 3].numpy()
    places = (world / 2).T
    inside = np.all([(p > -0.501) & (p < n - 0.499) for p, n in zip(places, old.shape)], axis=0)
    shares = [map_coordinates((old == v).numpy().astype(float), places, order=1, mode="nearest") for v in range(5)]
    shares = np.where(inside, np.stack(shares), np.eye(5)[0][:, None])
    due = torch.from_numpy(shares.argmax(0).reshape(shape))
    top = np.sort(shares, axis=0)
    clear = torch.from_numpy((top[-1] - top[-2] > 1e-4).reshape(shape))  # ties may go either way by rounding
    found = resample_labels(old, old_affine, new_affine, shape)
    assert found.dtype == torch.uint8
    assert clear.float().mean() > 0.9
    assert torch.equal(found[clear], due[clear].to(torch.uint8))


def test_there_and_back_again():
    old = labels((20, 20, 20))
    fine = resample_labels(old, torch.eye(4), affine((0.5, 0.5, 0.5), (0, 0, 0)), (39, 39, 39))
    back = resample_labels(fine, affine((0.5, 0.5, 0.5), (0, 0, 0)), torch.eye(4), (20, 20, 20))
    assert torch.equal(back, old)
    assert torch.equal(resample_labels(old, torch.eye(4), torch.eye(4), (20, 20, 20)), old)


def test_a_single_slice():
    """A single slice is found at its position, without interpolation, with background above and below."""
    old = labels((14, 12, 1))
    found = resample_labels(old, torch.eye(4), affine((1, 1, 0.5), (0, 0, -1)), (14, 12, 5))  # z = -1, -.5, 0, .5, 1
    assert torch.equal(found[..., 2:3], old)
    assert not found[..., [0, 4]].any()


def test_borders_are_smoother_than_by_nearest_neighbour():
    """A ball at 3 mm on a grid of 1 mm: the linear border is nearer to the true one."""

    def ball(n, step):
        axis = torch.arange(n) * step
        x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
        return ((x - 30) ** 2 + (y - 30) ** 2 + (z - 30) ** 2).sqrt() < 20

    coarse, truth = ball(21, 3).to(torch.uint8), ball(61, 1)
    linear = resample_labels(coarse, affine((3, 3, 3), (0, 0, 0)), torch.eye(4), (61, 61, 61)).bool()
    nearest = coarse.repeat_interleave(3, 0).repeat_interleave(3, 1).repeat_interleave(3, 2)[1:62, 1:62, 1:62].bool()
    assert (linear != truth).sum() < 0.7 * (nearest != truth).sum()


@pytest.mark.parametrize("shift", [0, 4, 8, -6])
def test_coverage_of_a_shifted_grid(shift):
    moved = torch.eye(4)
    moved[0, 3] = shift
    assert coverage(moved, (16, 16, 16), torch.eye(4), (16, 16, 16)) == pytest.approx(1 - abs(shift) / 16)


GRIDS = [
    (affine((2.0, -2.0, 2.5), (3.0, 20.0, -2.0)), (20, 24, 9)),
    (affine((1.9, 2.1, 2.5), (5.0, -4.0, 2.0), 0.2), (17, 24, 35)),  # oblique, reaches out on all sides
]


@pytest.mark.parametrize(("grid", "shape"), GRIDS, ids=["straight", "oblique"])
@pytest.mark.parametrize("fill", [0.0, -1024.0])
def test_both_interpolations_are_what_scipy_computes(grid, shape, fill):
    values = torch.rand(12, 10, 8, generator=torch.Generator().manual_seed(0)) + fill
    old = affine((4.0, 4.0, 3.0), (1.0, -5.0, 0.0))
    step = np.linalg.solve(old.numpy(), grid.numpy())
    options = {"order": 1, "mode": "grid-constant", "cval": fill}
    due = affine_transform(values.double().numpy(), step[:3, :3], step[:3, 3], shape, **options)
    assert 0.1 < (due != fill).mean() < 1
    image = onto_grid(MetaTensor(values[None], affine=old), grid, shape, fill=fill)
    assert image.dtype == torch.float32
    assert torch.equal(image.affine, grid)
    np.testing.assert_allclose(image[0].numpy(), due, atol=1e-3 if fill else 1e-5)
    if not fill:
        np.testing.assert_allclose(interpolate_onto(values, old, grid, shape).numpy(), due, atol=1e-5)


def test_linear_function_of_the_place_comes_out_exactly():
    """Trilinear interpolation of x + 2 y - 3 z (mm) is that function wherever the old grid reaches."""
    slope, old, (grid, shape) = torch.tensor([1.0, 2.0, -3.0]).double(), affine((4, 3, 3), (-9, -9, -9)), GRIDS[1]

    def function(at, size):
        voxels = torch.stack(torch.meshgrid(*(torch.arange(n).double() for n in size), indexing="ij"), -1)
        return (voxels @ at[:3, :3].T + at[:3, 3]) @ slope, voxels

    values, _ = function(old, (15, 16, 40))
    due, voxels = function(grid, shape)
    step = torch.linalg.solve(old, grid)
    places = voxels @ step[:3, :3].T + step[:3, 3]
    inside = ((places >= 0) & (places <= torch.tensor([14, 15, 39]))).all(-1)
    assert inside.float().mean() > 0.3
    found = interpolate_onto(values, old, grid, shape)
    torch.testing.assert_close(found[inside].double(), due[inside], atol=1e-3, rtol=0)
    image = onto_grid(MetaTensor(values[None], affine=old), grid, shape)[0].as_tensor()
    torch.testing.assert_close(image[inside], due[inside], atol=1e-4, rtol=0)
