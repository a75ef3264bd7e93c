from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from monai_ext.handlers.case_preview import CasePreview

SCAN = np.diag([-1.0, 1.0, 2.0, 1.0])  # 12 x 14 x 10, its first axis runs to the left


class Kept(CasePreview):
    """Records the cases that it is asked to draw."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.cases = []

    def draw(self, case, path):
        self.cases.append((case, path))


@pytest.fixture
def item(tmp_path):
    """A scan whose network saw a part of it, x -8..-2, at half the resolution, with one lesion."""
    values = np.random.default_rng(0).random((12, 14, 10)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, SCAN), tmp_path / "scan.nii.gz")
    affine = torch.diag(torch.tensor([2.0, 2, 4, 1], dtype=torch.float64))
    affine[:3, 3] = torch.tensor([-7.5, 0.5, 1])
    meta = {"filename_or_obj": str(tmp_path / "scan.nii.gz")}
    image = MetaTensor(torch.ones(2, 4, 7, 5), affine=affine, meta=meta)
    image[1] = torch.arange(4.0)[:, None, None]
    pred = torch.zeros(1, 4, 7, 5)
    pred[0, 1, 2:4, 3] = 1
    grid = {"original_affine": torch.from_numpy(SCAN), "original_shape": torch.tensor([12, 14, 10])}
    return {"id": "p1", "image": image, "pred": pred, **grid}, values


def engine(*items, rank=0):
    return SimpleNamespace(state=SimpleNamespace(output=[{}] * len(items), batch=list(items), rank=rank))


def test_a_case_is_shown_on_its_scans_grid_with_its_own_pixels(item, tmp_path):
    preview = Kept(str(tmp_path / "out"))
    preview(engine(item[0]))
    ((case, path),) = preview.cases
    assert (case.title, path) == ("p1", tmp_path / "out/p1.png")
    np.testing.assert_array_equal(case.image[0], item[1][::-1])  # to the right
    # the network's voxel 1 along x lies about -5.5 mm: voxels 6 and 5 of the file, 5 and 6 to the right
    found = {tuple(place.tolist()) for place in np.argwhere(case.pred)}
    assert {(5, 5, 6), (6, 6, 7)} <= found <= {(x, y, z) for x in (5, 6) for y in (4, 5, 6, 7) for z in (6, 7)}
    assert case.seen == (slice(3, 11), slice(0, 14), slice(0, 10))
    assert case.truth is None
    assert case.probability is None
    inside = case.image[1][case.seen]  # fades at its rim
    assert inside.min() == 0
    assert (np.diff(inside[1:-1], axis=0) >= 0).all()  # grows to the right, as the network's channel does


def test_truth_and_prediction_on_the_scans_grid_are_left_as_they_are(item, tmp_path):
    mask = torch.zeros(1, 12, 14, 10, dtype=torch.uint8)
    mask[0, 2:5, 3, 7:9] = 1
    own = MetaTensor(mask, affine=torch.from_numpy(SCAN))
    preview = Kept(str(tmp_path), own_channel=None)
    preview(engine({**item[0], "pred": own, "label": own, "lesion_probability": own * 0.75}))
    case = preview.cases[0][0]
    np.testing.assert_array_equal(case.pred, mask[0].numpy()[::-1])
    np.testing.assert_array_equal(case.truth, case.pred)
    np.testing.assert_array_equal(case.probability, 0.75 * case.pred)
    assert case.image[0][case.seen].min() > 0.4  # not the file's pixels


def test_a_file_of_several_volumes_is_not_taken_for_one(item, tmp_path):
    file = item[0]["image"].meta["filename_or_obj"]
    nibabel.save(nibabel.Nifti1Image(np.zeros((12, 14, 10, 2), np.float32), SCAN), file)
    preview = Kept(str(tmp_path))
    preview(engine(item[0]))
    assert preview.cases[0][0].image[0].max() == 1


def test_stops_after_so_many_cases_and_names_the_nameless(item, tmp_path):
    preview = Kept(str(tmp_path), 3)
    nameless = {key: value for key, value in item[0].items() if key != "id"}
    for _ in range(3):
        preview(engine(nameless, nameless))
    assert [case.title for case, _ in preview.cases] == ["case0", "case1", "case2"]


def test_every_validation_of_a_training_draws_the_same_cases(item, tmp_path):
    validation, preview = Engine(lambda engine, batch: [{}]), Kept(str(tmp_path), 2)
    preview.attach(validation)
    for _ in range(2):
        validation.run([[{**item[0], "id": name}] for name in ("p1", "p2", "p3")])
    assert [case.title for case, _ in preview.cases] == ["p1", "p2"] * 2


def test_one_process_draws(item, tmp_path):
    preview = Kept(str(tmp_path))
    preview(engine(item[0], rank=1))
    assert not preview.cases
