"""Statistics of scans."""

import numpy as np
import pytest
from heads import head, save

from monai_ext.errors import DataError
from monai_ext.select.statistics import Statistics, box_of, describe_image, shown_slice
from monai_ext.transforms import VolumePreprocessing

MM = (2.0, 2.0, 2.0)


def of(values, mask=None, spacing=MM, key="mr"):
    return describe_image({key: values}, values > 50 if mask is None else mask, spacing)


def test_air_and_scale_of_mr_do_not_count():
    values = head(0, 1).astype(np.float64)
    plain, padded = of(values), of(np.pad(values, ((3, 9), (0, 4), (5, 1))))
    scaled = of(3 * values + 20, values > 50)
    for key, wanted in plain.items():
        assert np.allclose(padded[key], wanted, atol=1e-5), key
        assert np.allclose(scaled[key], wanted, atol=1e-4), key


def test_units_of_ct_and_size_and_place_count():
    values = head(0, 1).astype(np.float64)
    mask = values > 50
    assert not np.allclose(of(values, mask, key="ct")["ct_values"], of(values + 80, mask, key="ct")["ct_values"])
    assert not np.allclose(of(values)["size"], of(values, spacing=(2, 2, 3))["size"])
    left, right = of(head(0, 1))["mr_shape"], of(head(1, 1))["mr_shape"]
    same = of(head(0, 2))["mr_shape"]
    assert np.abs(left - same).max() < 0.2 < 1 < np.abs(left - right).max()
    assert left.reshape(4, 4, 4)[1, 1, 1] > left.reshape(4, 4, 4)[2, 1, 1]  # bright to the left


def test_volume_and_extent_are_in_mm():
    mask = np.zeros((10, 10, 10), dtype=bool)
    mask[2:6, 1:3, 0:5] = True
    values = np.random.default_rng(0).normal(size=mask.shape)
    size = np.exp(of(values, mask, (1.0, 2.0, 3.0))["size"])
    assert size == pytest.approx([40 * 6, 4, 4, 15, 1, 2, 3, 1], rel=1e-5)
    assert box_of(mask) == (slice(2, 6), slice(1, 3), slice(0, 5))


def test_the_slice_with_the_most_tissue_is_shown():
    values = head(0, 1)
    found = shown_slice(values, values > 50, MM)
    assert found["slice"].shape == (40, 36)
    assert (found["slice"].min(), found["slice"].max()) == (0, 1)
    middle = np.clip(values[:, :, 9:11] / values[:, :, 9:11].max(), 0, 1)
    assert min(np.abs(found["slice"] - middle[..., z]).mean() for z in (0, 1)) < 0.1
    assert shown_slice(values, values > 50, MM, least=1000.0)["slice"].max() < 0.3


def test_label_is_not_looked_at_and_a_gland_is(scans):
    look = Statistics(["image"], VolumePreprocessing())
    item = {"id": "p00", "image": str(scans / "p00.nii.gz")}
    plain, labelled = look(item), look({**item, "label": str(scans / "none.nii.gz")})
    assert all(np.array_equal(plain[key], labelled[key]) for key in plain)
    gland = look({**item, "gland": str(scans / "p00_seg.nii.gz")})
    assert np.exp(gland["size"][0]) == pytest.approx(8 * (head(0, 0) > 200).sum(), rel=1e-4)


def test_a_constant_scan_is_named(scans):
    save(np.full((20, 20, 10), 7, dtype=np.float32), scans / "flat.nii.gz")
    with pytest.raises(DataError, match=r"case x: image is constant \(7\)"):
        Statistics(["image"], VolumePreprocessing())({"id": "x", "image": str(scans / "flat.nii.gz")})
