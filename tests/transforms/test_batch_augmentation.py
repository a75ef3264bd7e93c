"""Augmentation of a batch on its device, beside MONAI's transforms given the same numbers."""

import numpy as np
import pytest
import torch
from host_syncs import HostSyncs
from monai.transforms import (
    AdjustContrast,
    Affine,
    GaussianSmooth,
    RandSimulateLowResolution,
    ScaleIntensity,
    ScaleIntensityFixedMean,
)
from scipy.ndimage import map_coordinates

from monai_ext.transforms import BatchAugmentation, SegmentationAugmentation, batch_augmentation
from monai_ext.transforms.deformation import displacement_field

SHAPE = (30, 24, 20)


def batch(items=6, channels=2, shape=SHAPE):
    """Smooth channels with a mean of their own, and a label that is a function of the first."""
    axes = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in shape), indexing="ij")
    images = []
    for item in range(items):
        centre = [0.3 * np.cos(item + axis) for axis in range(len(shape))]
        blob = torch.exp(-3 * sum((a - c) ** 2 for a, c in zip(axes, centre)))
        images.append(torch.stack([blob * (c + 1) + 0.2 * (axes[0] * (c + 1)).sin() for c in range(channels)]))
    image = torch.stack(images)
    return image, (image[:, :1] > 0.5).to(torch.uint8)


def by_monai(drawn, image, label, size, outside, noise):
    """What was drawn, item by item with MONAI's transforms."""
    found = []
    for item in range(len(image)):
        x, y = image[item], label[item]

        def value(name, item=item):
            return drawn.values[name][drawn.rows[name].index(item)] if item in drawn.rows.get(name, []) else None

        affine = np.eye(x.ndim)
        if (matrix := value("affine")) is not None:
            affine[: x.ndim - 1] = matrix
        for key, mode, around in (("x", "bilinear", outside), ("y", "nearest", "zeros")):
            move = Affine(affine=affine, spatial_size=size, image_only=True, padding_mode=around, mode=mode)
            moved = move(x if key == "x" else y).as_tensor()
            x, y = (moved, y) if key == "x" else (x, moved)
        if (control := value("deform")) is not None:
            field = displacement_field(torch.tensor(control, dtype=torch.float32), size).numpy()
            places = np.stack(np.meshgrid(*(np.arange(n) for n in size), indexing="ij")) + field
            border = "nearest" if outside == "border" else "grid-constant"
            x = torch.stack([torch.tensor(map_coordinates(c.numpy(), places, order=1, mode=border)) for c in x])
            y = torch.tensor(map_coordinates(y[0].numpy(), places, order=0, mode="grid-constant"))[None]
        if (std := value("noise")) is not None:
            x = x + std * noise[drawn.rows["noise"].index(item)]
        if (sigma := value("blur")) is not None:
            x = GaussianSmooth(sigma.tolist())(x)
        if (factors := value("brightness")) is not None:
            x = torch.stack([ScaleIntensity(None, None, factor=f - 1)(c) for c, f in zip(x, factors)])
        if (factor := value("contrast")) is not None:
            x = ScaleIntensityFixedMean(factor=float(factor) - 1, preserve_range=True)(x)
        if (zoom := value("low_resolution")) is not None:
            coarse = RandSimulateLowResolution(upsample_mode="trilinear" if x.ndim == 4 else "bilinear")
            coarse.zoom_factor, coarse._do_transform = float(zoom), True
            x = coarse(x, randomize=False)
        if (gamma := value("inverted_gamma")) is not None:
            x = AdjustContrast(float(gamma), invert_image=True, retain_stats=True)(x)
        if (gamma := value("gamma")) is not None:
            x = AdjustContrast(float(gamma), retain_stats=True)(x)
        for axis in range(x.ndim - 1):
            if value(f"flip{axis}") is not None:
                x, y = x.flip(axis + 1), y.flip(axis + 1)
        found.append((torch.as_tensor(x), torch.as_tensor(y)))
    return [torch.stack(column) for column in zip(*found)]


def away_from_boundaries(label):
    """Where all neighbours have the same label."""
    pool = torch.nn.functional.max_pool3d if label.ndim == 5 else torch.nn.functional.max_pool2d
    near = label.float()
    return pool(near, 3, 1, 1) == -pool(-near, 3, 1, 1)


@pytest.mark.parametrize("step", range(8))
@pytest.mark.parametrize(
    ("shape", "size", "outside"),
    [
        (SHAPE, (24, 20, 16), "border"),
        (SHAPE, (24, 20, 16), "zeros"),
        (SHAPE, (23, 20, 16), "border"),  # the middle lies between two voxels
        ((40, 32), (40, 32), "border"),
    ],
)
@pytest.mark.parametrize("shift", [0.0, 0.2])
def test_equals_monai(step, shape, size, outside, shift):
    dims = len(size)
    augment = BatchAugmentation(
        size, 30, outside=outside, deform=(1.0, 3.0), flips=range(dims), spatial_dims=dims, shift=shift
    )
    image, label = batch(shape=shape)
    drawn = augment.draw((1, 0, step), image.shape)
    before = image.clone()
    ours, mine = augment.apply(drawn, image, label, torch.Generator().manual_seed(step))
    assert torch.equal(image, before)  # what a loader made stays as it is
    rows = drawn.rows.get("noise", [])
    noise = torch.randn(len(rows), 2, *size, generator=torch.Generator().manual_seed(step))
    theirs, truth = by_monai(drawn, image, label, size, outside, noise)
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=0)
    sure = away_from_boundaries(truth) & away_from_boundaries(mine)
    assert torch.equal(mine[sure], truth[sure].to(torch.uint8))
    ties = any((n - m) % 2 for n, m in zip(shape, size))  # the nearest voxel of a place midway is either
    assert (mine == truth).float().mean() > (0.98 if ties else 0.998)
    assert mine.dtype == torch.uint8


def test_every_change_is_drawn_in_the_steps_above():
    image, _ = batch()
    augment = BatchAugmentation(deform=(1.0, 3.0))
    drawn = [augment.draw((1, 0, step), image.shape) for step in range(8)]
    names = {name for one in drawn for name in one.rows}
    assert names == {"affine", "deform", *batch_augmentation.INTENSITIES, "low_resolution", "flip0", "flip1", "flip2"}


def test_shares_and_ranges_are_those_of_the_transforms_of_one_item():
    """Read off MONAI's transforms, and off 4,000 draws."""
    one = SegmentationAugmentation(deform=(2, 8))
    by_name = {type(t).__name__: t for t in one.transforms}
    gammas = [t for t in one.transforms if type(t).__name__ == "RandAdjustContrastd"]
    shares = {
        "affine": by_name["RandAffined"], "deform": by_name["RandDeformd"], "noise": by_name["RandGaussianNoised"],
        "blur": by_name["RandGaussianSmoothd"], "brightness": by_name["RandScaleIntensityd"],
        "contrast": by_name["RandScaleIntensityFixedMeand"], "low_resolution": by_name["RandSimulateLowResolutiond"],
        "inverted_gamma": gammas[0], "gamma": gammas[1], "flip0": by_name["RandFlipd"],
    }  # fmt: skip
    drawn = BatchAugmentation(deform=(2, 8)).draw((1, 2, 3), (4000, 2, 16, 16, 16))
    for name, transform in shares.items():
        assert len(drawn.rows[name]) / 4000 == pytest.approx(transform.prob, abs=0.03), name
    values = drawn.values
    blur, zoom = by_name["RandGaussianSmoothd"].rand_smooth, by_name["RandSimulateLowResolutiond"].sim_lowres_tfm
    bright, even = by_name["RandScaleIntensityd"].scaler, by_name["RandScaleIntensityFixedMeand"].scaler
    ranges = {
        "noise": (0, by_name["RandGaussianNoised"].rand_gaussian_noise.std), "blur": blur.sigma_x,
        "brightness": [1 + f for f in bright.factors], "contrast": [1 + f for f in even.factors],
        "low_resolution": zoom.zoom_range, "gamma": gammas[1].adjuster.gamma,
        "inverted_gamma": gammas[0].adjuster.gamma,
    }  # fmt: skip
    for name, (low, high) in ranges.items():
        assert low <= values[name].min() < low + 0.05 * (high - low), name
        assert high - 0.05 * (high - low) < values[name].max() <= high, name
    zooms = 1 / np.linalg.norm(values["affine"][:, :, :3], axis=1)
    assert 0.7 <= zooms.min() < 0.73
    assert 1.35 < zooms.max() <= 1.4001


def test_a_step_draws_the_same_again_and_each_step_and_rank_another():
    augment = BatchAugmentation((24, 20, 16), deform=(2.0, 8.0))

    def run(*numbers):
        return augment(*batch(), numbers, torch.Generator().manual_seed(numbers[-1]))[0]

    assert torch.equal(run(0, 0, 5), run(0, 0, 5))
    for other in ((0, 0, 6), (0, 1, 5), (1, 0, 5)):
        assert not torch.equal(run(0, 0, 5), run(*other))


def test_nothing_asked_for_cuts_the_middle():
    still = BatchAugmentation((24, 20, 16), rotation=0, scale=(1, 1), flips=(), intensity=False)
    image, label = batch()
    found, truth = still(image, label, (0, 0, 0), torch.Generator())
    assert torch.equal(found, image[..., 3:27, 2:22, 2:18])
    assert torch.equal(truth, label[..., 3:27, 2:22, 2:18])
    assert still(image, None, (0, 0, 0), torch.Generator())[1] is None


def test_deformation_moves_something():
    """In voxels, root mean square: a third of the amplitude."""
    bend = BatchAugmentation(rotation=0, scale=(1, 1), flips=(), intensity=False, deform=(4.0, 4.0))
    axes = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in (48, 48, 48)), indexing="ij"))
    image = axes[None].expand(12, -1, -1, -1, -1)
    drawn = bend.draw((0, 0, 0), image.shape)
    found, _ = bend.apply(drawn, image, None, torch.Generator())
    moved = (found - image)[drawn.rows["deform"], :, 12:-12, 12:-12, 12:-12]
    assert 0.8 < moved.square().mean().sqrt() < 2.0
    still = [row for row in range(12) if row not in drawn.rows["deform"]]
    assert torch.equal(found[still], image[still])


@pytest.mark.parametrize("dims", [2, 3])
def test_never_waits_for_the_device(dims):
    augment = BatchAugmentation(deform=(2.0, 8.0), flips=range(dims), spatial_dims=dims)
    image, label = batch(shape=SHAPE[:dims])
    with HostSyncs() as syncs:
        for step in range(8):
            augment(image, label, (0, 0, step), torch.Generator())
    assert syncs.found == []


def test_a_shift_moves_by_at_most_its_share_along_each_axis():
    move = BatchAugmentation(rotation=0, scale=(1, 1), flips=(), intensity=False, shift=0.25, moved=1.0)
    image = torch.zeros(200, 1, 33, 33, 33)
    image[..., 16, 16, 16] = 1
    found, _ = move(image, None, (0, 0, 0), torch.Generator())
    weight = found[:, 0] / found.sum((1, 2, 3, 4))[:, None, None, None]
    axes = torch.stack(torch.meshgrid(*(torch.arange(33.0) - 16,) * 3, indexing="ij"))
    moved = (weight[:, None] * axes).sum((2, 3, 4))
    assert moved.abs().max() <= 0.25 * 33 + 0.01
    assert (moved.abs().amax(0) > 0.2 * 33).all()
    assert moved.mean(0).abs().max() < 1.0


def test_moved_is_the_share_that_moves():
    move = BatchAugmentation(flips=(), intensity=False, moved=0.5)
    drawn = move.draw((0, 0, 0), (4000, 1, 8, 8, 8))
    assert len(drawn.rows["affine"]) / 4000 == pytest.approx(0.5, abs=0.03)


def test_intensity_is_a_factor_of_the_shares_of_items():
    """By name of the change: items met with half of the intensity over those with all of it, and none with 0."""
    full, half, none = (
        BatchAugmentation(intensity=share).draw((0, 0, 0), (20000, 1, 8, 8, 8)) for share in (1, 0.5, 0)
    )
    changes = set(full.part(intensity=True).rows)
    assert len(changes) == 7
    for name in changes:
        assert len(half.rows[name]) / len(full.rows[name]) == pytest.approx(0.5, abs=0.05)
    assert none.part(intensity=True).rows == {}
    assert len(none.rows["affine"]) == pytest.approx(len(full.rows["affine"]), rel=0.05)


@pytest.mark.parametrize(
    "wrong",
    [
        {"intensity": 1.5},
        {"scale": (1.1, 1.4)},
        {"shift": -0.1},
        {"moved": 1.2},
        {"flips": (2,), "spatial_dims": 2},
        {"spatial_dims": 4},
    ],
)
def test_bad_arguments(wrong):
    with pytest.raises(ValueError):
        BatchAugmentation(**wrong)


@pytest.mark.parametrize(("size", "dims"), [((20, 16, 14), 3), (None, 3), (None, 2)])
def test_two_views_have_one_geometry(size, dims):
    """The moved view is the geometry alone; the other differs from it by intensities, so it keeps their order."""
    image, _ = batch(items=8, shape=SHAPE[:dims])
    augment = BatchAugmentation(size=size, spatial_dims=dims, flips=range(dims))
    alone = BatchAugmentation(size=size, spatial_dims=dims, flips=range(dims), intensity=False)
    for step in range(6):
        numbers = (0, 0, step)
        drawn = augment.draw(numbers, image.shape)
        moved, strong = augment.views(image, numbers, torch.Generator().manual_seed(step))
        expected, _ = alone.apply(drawn.part(intensity=False), image, None, torch.Generator())
        assert torch.equal(moved, expected)
        assert moved.shape == strong.shape == (8, 2, *(size or SHAPE[:dims]))
        changed = {row for name, rows in drawn.part(intensity=True).rows.items() for row in rows}
        for item in range(8):
            same = torch.equal(moved[item], strong[item])
            assert same == (item not in changed)
            both = torch.corrcoef(torch.stack([moved[item, 0].flatten(), strong[item, 0].flatten()]))[0, 1]
            assert abs(both) > 0.3 or "noise" in drawn.rows  # noise may drown it


def test_views_repeat_themselves_and_leave_the_batch_as_it_is():
    image, _ = batch()
    before = image.clone()
    augment = BatchAugmentation()
    views = [augment.views(image, (1, 0, 3), torch.Generator().manual_seed(5)) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*views))
    assert torch.equal(image, before)
