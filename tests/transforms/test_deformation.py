import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline
from scipy.ndimage import map_coordinates

from monai_ext.transforms.deformation import RandDeformd, displacement_field, spline_basis


def drawn(transform, data, seed=0):
    transform.set_random_state(seed=seed)
    return transform(data)


@pytest.mark.parametrize(("size", "count"), [(48, 6), (17, 4), (100, 13), (1, 4)])
def test_splines_are_scipys(size, count):
    places = np.arange(size) * (count - 3) / max(1, size - 1) + 1
    elements = [BSpline.basis_element(np.arange(i - 2, i + 3), extrapolate=False)(places) for i in range(count)]
    basis = spline_basis(size, count)
    np.testing.assert_allclose(basis, np.nan_to_num(np.stack(elements, 1)), atol=1e-6)
    np.testing.assert_allclose(basis.sum(1), 1, atol=1e-6)


def test_equal_control_points_shift():
    field = displacement_field(torch.full((2, 5, 7), 3.0), (20, 31))
    torch.testing.assert_close(field, torch.full((2, 20, 31), 3.0))


@pytest.mark.parametrize(("shape", "share"), [((300, 300), (151 / 315)), ((60, 60, 60), (151 / 315) ** 1.5)])
def test_how_far_voxels_move(shape, share):
    """The mean over places of the basis's sum of squares is 151/315 along an axis."""
    counts = [n // 2 for n in shape]
    field = displacement_field(torch.randn(1, *counts, generator=torch.Generator().manual_seed(0)) * 5, shape)
    assert float(field.std()) == pytest.approx(5 * share, rel=0.05)


@pytest.mark.parametrize("shape", [(19, 24), (13, 18, 15)])
def test_resampling_is_scipys(shape):
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32))
    transform = RandDeformd(("image", "label"), 1.0, (2, 2), 6.0, ("bilinear", "nearest"))
    label = (image[:1] > 0).to(torch.uint8)
    found = drawn(transform, {"image": image, "label": label})
    # what moved where: the same deformation of the coordinates themselves
    axes = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in shape), indexing="ij"))
    places = drawn(transform, {"image": axes, "label": label})["image"].numpy()
    assert np.abs(places - axes.numpy()).mean() > 0.3
    for channel in range(2):
        expected = map_coordinates(image[channel].numpy(), places, order=1, mode="nearest")
        np.testing.assert_allclose(found["image"][channel], expected, atol=2e-4)
    nearest = map_coordinates(label[0].numpy(), places, order=0, mode="nearest")
    assert (found["label"][0].numpy() != nearest).mean() < 0.01  # ties
    assert found["label"].dtype == torch.uint8


def test_an_item_that_is_not_drawn_is_the_same_object():
    image = torch.randn(1, 8, 8)
    assert drawn(RandDeformd("image", prob=0.0), {"image": image})["image"] is image
    moved = sum(drawn(RandDeformd("image", prob=0.2), {"image": image}, s)["image"] is not image for s in range(400))
    assert 50 < moved < 110  # a fifth


def test_no_amplitude_changes_nothing():
    image = torch.randn(1, 9, 8, 7)
    torch.testing.assert_close(drawn(RandDeformd("image", 1.0, (0, 0)), {"image": image})["image"], image)


def test_keys_may_be_absent_and_arguments_are_checked():
    transform = RandDeformd(("image", "label"), 1.0, allow_missing_keys=True)
    assert drawn(transform, {"image": torch.zeros(1, 8, 8), "id": "a"}).keys() == {"image", "id"}
    with pytest.raises(ValueError, match="amplitude"):
        RandDeformd("image", amplitude=(3, 1))
    with pytest.raises(ValueError, match="distance"):
        RandDeformd("image", control_points=0)
