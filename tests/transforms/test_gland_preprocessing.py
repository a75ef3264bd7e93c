import nibabel as nib
import numpy as np
import pytest
import torch

from monai_ext.errors import DataError
from monai_ext.transforms import BpMRIPreprocessing, GlandPreprocessing

SHAPE, SPACING = (40, 32, 12), (1.0, 1.25, 3.0)


def write(path, values, flip=False):
    """A NIfTI in RAS, or the same scan stored with both in-plane axes reversed."""
    affine = np.diag([*SPACING, 1.0])
    if flip:
        values = values[::-1, ::-1]
        affine[:2, 3] = [(n - 1) * s for n, s in zip(SHAPE[:2], SPACING[:2])]
        affine[:2, :2] *= -1
    nib.save(nib.Nifti1Image(np.ascontiguousarray(values), affine), path)
    return str(path)


@pytest.fixture
def scan(tmp_path):
    rng = np.random.default_rng(0)
    gland = np.zeros(SHAPE, np.uint8)
    gland[10:25, 8:20, 3:9] = 2  # a zone: any value above 0 is gland
    t2w = (rng.gamma(2.0, 60.0, SHAPE) + 200 * (gland > 0)).astype(np.float32)
    return {
        "id": "a",
        "t2w": write(tmp_path / "a_t2w.nii.gz", t2w),
        "gland": write(tmp_path / "a_gland.nii.gz", gland),
        "values": (t2w, gland),
    }


def item(scan, *keys):
    return {key: scan[key] for key in keys}


PREPARE = GlandPreprocessing(size=(40, 32, 12), resample_size=(40, 32, 12))


def test_gland_and_image_keep_their_place(scan):
    """On the scan's own grid the label equals the mask, and the image equals T2W up to scale, without interpolation."""
    result = PREPARE({**item(scan, "id", "t2w", "gland"), "label": "the lesions are not looked at", "fold": 1})
    t2w, gland = scan["values"]
    assert result.keys() == {"id", "image", "label"}
    assert result["label"].dtype == torch.uint8
    np.testing.assert_array_equal(result["label"][0], gland > 0)
    inner = t2w < np.percentile(t2w, 98)  # the brightest are clipped
    assert np.corrcoef(result["image"][0].numpy()[inner], t2w[inner])[0, 1] > 0.999


def test_order_of_the_axes_in_the_file_does_not_matter(scan, tmp_path):
    t2w, gland = scan["values"]
    flipped = {
        "id": "a",
        "t2w": write(tmp_path / "b_t2w.nii.gz", t2w, flip=True),
        "gland": write(tmp_path / "b_gland.nii.gz", gland, flip=True),
    }
    one, other = PREPARE(item(scan, "id", "t2w", "gland")), PREPARE(flipped)
    for key in ("image", "label"):
        np.testing.assert_allclose(one[key].numpy(), other[key].numpy(), atol=1e-4)


def test_image_is_what_the_bpmri_preprocessing_asks_the_gland_network_about(scan, tmp_path):
    seen = []

    def network(image):
        seen.append(image)
        return torch.ones_like(image, dtype=torch.bool)

    t2w = scan["values"][0]
    more = {key: write(tmp_path / f"c_{key}.nii.gz", t2w + 500) for key in ("adc", "hbv")}
    path = write(tmp_path / "c_t2w.nii.gz", t2w)
    BpMRIPreprocessing(resample_size=(40, 32, 12), gland_network=network)({"id": "c", "t2w": path, **more})
    np.testing.assert_allclose(PREPARE(item(scan, "id", "t2w", "gland"))["image"].numpy(), seen[0].numpy(), atol=1e-4)


def test_mask_beside_t2w_is_found_and_a_missing_or_empty_one_is_an_error(scan, tmp_path):
    assert PREPARE(item(scan, "id", "t2w"))["label"].any()
    assert PREPARE.resolve(item(scan, "id", "t2w"))["gland"] == scan["gland"]
    alone = write(tmp_path / "d_t2w.nii.gz", scan["values"][0])
    with pytest.raises(DataError, match=r"case d: .*d_t2w.nii.gz: there is no gland mask\. Name it"):
        PREPARE({"id": "d", "t2w": alone})
    write(tmp_path / "d_gland.nii.gz", np.zeros(SHAPE, np.uint8))
    with pytest.raises(DataError, match=r"case d: .*d_gland.nii.gz: the gland mask is empty"):
        PREPARE({"id": "d", "t2w": alone})


def test_zones_are_the_gland_where_asked_for(scan, tmp_path):
    zones = np.zeros(SHAPE, np.uint8)
    zones[8:16, 8:20, 2:5], zones[16:22, 8:20, 2:5] = 1, 2
    case = item(scan, "id", "t2w", "gland") | {"zones": write(tmp_path / "zones.nii.gz", zones)}
    plain, union = (GlandPreprocessing(PREPARE.size, PREPARE.resample_size, zones=z) for z in (False, True))
    alone = {key: value for key, value in case.items() if key != "gland"}
    assert union(case)["label"].sum() == union(alone)["label"].sum() > 0
    share = float(union(case)["label"].sum()) / union(case)["label"].numel()
    assert abs(share - (zones > 0).mean()) < 0.3 * (zones > 0).mean()
    assert not (plain(case)["label"] == union(case)["label"]).all()
    assert plain.fingerprint != union.fingerprint


def test_fingerprint_tells_settings_and_versions_apart(monkeypatch):
    assert GlandPreprocessing().fingerprint == GlandPreprocessing().fingerprint
    assert GlandPreprocessing(size=(64, 64, 32)).fingerprint != GlandPreprocessing().fingerprint
    before = GlandPreprocessing().fingerprint
    monkeypatch.setattr(GlandPreprocessing, "VERSION", GlandPreprocessing.VERSION + 1)
    assert GlandPreprocessing().fingerprint != before
