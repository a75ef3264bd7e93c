import nibabel
import numpy as np
import pytest

from monai_ext.errors import DataError
from monai_ext.plan.dataset_facts import measure_dataset


def write(path, values, spacing=(1, 1, 1), order=(0, 1, 2), signs=(1, 1, 1)):
    """A NIfTI of values given along R, A and S, stored with its axes in another order and direction."""
    stored = np.transpose(values[tuple(slice(None, None, s) for s in signs)], order)
    affine = np.zeros((4, 4))
    for column, axis in enumerate(order):
        affine[axis, column] = signs[axis] * spacing[axis]
    affine[3, 3] = 1
    nibabel.save(nibabel.Nifti1Image(stored.astype(np.float32), affine), path)
    return str(path)


def kidneys(tmp_path, number=4, alike=True, **options):
    """Two boxes of which the second always lies further right, at changing heights; and a third like neither."""
    items = []
    for i in range(number):
        label = np.zeros((24, 20, 16))
        label[3:7, 8:12, 4 + i : 8 + i] = 1
        label[16:20, 8:12, 8 - i : 12 - i] = 2
        label[10:12, 8:12, 2:4] = 3
        rng = np.random.default_rng(i)
        image = rng.normal(0, 5, label.shape) + np.array([0, 100, 100 if alike else 160, 900])[label.astype(int)]
        items.append(
            {
                "id": f"p{i}",
                "image": write(tmp_path / f"{i}.nii", image, **options),
                "label": write(tmp_path / f"{i}_seg.nii", label, **options),
            }
        )
    return items


@pytest.mark.parametrize("options", [{}, {"order": (2, 0, 1), "signs": (-1, 1, -1)}])
def test_orientation_of_the_files_does_not_matter(tmp_path, options):
    facts = measure_dataset(kidneys(tmp_path, spacing=(2.0, 1.5, 3.0), **options), ["image"])
    np.testing.assert_allclose(facts.spacing, [2, 1.5, 3])
    np.testing.assert_allclose(facts.shapes[0], [24, 20, 16])
    assert facts.cases[0].shape == (24, 20, 16)
    assert (facts.patients, facts.labelled, facts.classes) == (4, 4, [1, 2, 3])
    assert facts.ordered_axes() == (0,)


def test_classes_that_look_different_may_be_mirrored(tmp_path):
    items = kidneys(tmp_path, alike=False)
    for item in items:  # only the two are compared: the third looks like neither
        image = nibabel.load(item["image"])
        label = nibabel.load(item["label"]).get_fdata()
        values = np.where(label == 2, 3000.0, image.get_fdata())
        nibabel.save(nibabel.Nifti1Image(np.where(label == 3, 6000.0, values), image.affine), item["image"])
    assert measure_dataset(items, ["image"]).ordered_axes() == ()


def test_labels_first_and_no_more_than_asked_for(tmp_path):
    items = kidneys(tmp_path, 4)
    for item in items[:3]:
        del item["label"]
    facts = measure_dataset(items, ["image"], max_cases=2)
    assert (facts.patients, facts.labelled, len(facts.cases), len(facts.spacings)) == (4, 1, 2, 4)
    assert facts.cases[0].labelled
    assert not facts.cases[1].labelled
    assert len(measure_dataset(items, ["image"], max_seconds=0).cases) == 1
    with pytest.raises(DataError, match="no case"):
        measure_dataset([], ["image"])


def test_stacked_files(tmp_path):
    values = np.stack([np.full((8, 9, 6), value) + np.arange(6) for value in (1.0, 50.0, 900.0)], axis=-1)
    affine = np.diag([2, 2, 5, 1.0])
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), affine), tmp_path / "a.nii.gz")
    facts = measure_dataset(
        [{"id": "a", "image": str(tmp_path / "a.nii.gz")}], ["flair"], stacked=["t1", "flair", "t1ce"]
    )
    assert facts.voxels("flair").min() > 49
    assert facts.voxels("flair").max() < 60
    np.testing.assert_allclose(facts.spacing, [2, 2, 5])


@pytest.mark.parametrize(
    ("inside", "outside", "is_ct"),
    [
        ((40, 40), (-300, 400), True),
        ((200, 50), (80, 60), False),
        ((3, 3), (1, 1), False),
        ((1200, 150), (900, 500), False),
    ],
)
def test_hounsfield_units_are_known(make_facts, inside, outside, is_ct):
    facts = make_facts()
    rng = np.random.default_rng(0)
    for case in facts.cases:
        case.inside["image"] = rng.normal(*inside, 2000).astype(np.float32)
        case.outside["image"] = rng.normal(*outside, 2000).astype(np.float32)
        if not is_ct:
            case.inside["image"], case.outside["image"] = abs(case.inside["image"]), abs(case.outside["image"])
    assert facts.is_ct("image") == is_ct
