"""The gland phase: which cases ask for it, and what it learns from."""

import json
from pathlib import Path

import pytest
import torch

from monai_ext.data import phantom
from monai_ext.errors import DataError
from monai_ext.phases import GlandTraining
from monai_ext.phases.gland import gland_augmentation


@pytest.fixture(scope="module")
def data():
    return Path(phantom("bpmri"))


def training(dataset_dir, folder, sections, **options):
    path = folder / "list.json"
    path.write_text(json.dumps(sections))
    weights, output = str(folder / "gland.pt"), str(folder / "output")
    cpu = torch.device("cpu")
    return GlandTraining(path, dataset_dir, weights, output, str(folder / "cache"), cpu, **options)


@pytest.fixture
def cohort(data, tmp_path):
    """Three cases in a folder of their own; a case of ``masked`` has its gland beside its T2W file."""

    def make(masked):
        items = json.loads((data / "datalist.json").read_text())["training"][:3]
        for number, item in enumerate(items):
            for key in ("t2w", *(["gland"] if number in masked else [])):
                (tmp_path / f"case{number}_{key}.nii.gz").symlink_to(data / item[key])
        found = [{"id": str(n), "fold": int(n == 0), "t2w": f"case{n}_t2w.nii.gz"} for n in range(3)]
        return training(tmp_path, tmp_path, {"training": found[:2], "testing": found[2:]})

    return make


def test_not_wanted_where_every_case_has_a_mask(cohort):
    assert not cohort({0, 1, 2}).is_wanted()


@pytest.mark.parametrize("masked", [{1, 2}, {0, 1}])
def test_wanted_where_a_case_of_any_section_has_none(cohort, masked):
    assert cohort(masked).is_wanted()


def test_learns_from_cases_with_a_mask_alone(cohort):
    assert [item["id"] for item in cohort({0})._volumes().data] == ["0"]


def test_nothing_to_learn_from(cohort):
    with pytest.raises(DataError, match="no case of fold 0 has a mask of the gland"):
        cohort({0})._volumes(folds=0)


def test_images_and_masks_move_together_over_a_wide_range():
    """A gland of twice the signal stays under its mask; its size varies by the field of view, its contrast too."""
    label = torch.zeros(1, 48, 48, 16)
    label[:, 18:30, 20:32, 5:11] = 1
    augment = gland_augmentation().set_random_state(0)
    sizes, contrasts, sides = [], [], []
    for _ in range(40):
        made = augment({"image": label * 2 - 0.5, "label": label})
        image, mask = made["image"], made["label"] > 0
        assert made["label"].unique().tolist() == [0, 1]
        assert image[mask].mean() > image[~mask].mean() + 0.5
        sizes.append(float(mask.sum()) ** (1 / 3))
        contrasts.append(float(image[mask].mean() - image[~mask].mean()))
        sides.append(float(mask.nonzero()[:, 1].float().mean()))
    assert max(sizes) / min(sizes) > 1.5
    assert max(contrasts) - min(contrasts) > 0.3
    assert max(sides) - min(sides) > 12


@pytest.mark.slow
def test_trains_and_leaves_weights_that_fit_the_predictor(data, tmp_path):
    sections = json.loads((data / "datalist.json").read_text())
    phase = training(data, tmp_path, sections, max_epochs=2, size=(32, 32, 16), batch_size=1)
    phase.run()
    from monai_ext.transforms import GlandPredictor

    found = GlandPredictor(tmp_path / "gland.pt", size=(32, 32, 16))(torch.randn(1, 40, 40, 20))
    assert found.shape == (1, 40, 40, 20)
    report = json.loads((tmp_path / "output/report.json").read_text())
    assert report["epochs"] == 2
