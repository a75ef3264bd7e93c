"""Files that are missing, damaged or of another kind: one error before any training."""

import nibabel as nib
import numpy as np
import pytest

NIFTI_SFORM = 280  # byte offset of the affine in a NIfTI-1 header


def shift(dataset, key):
    affine = nib.load(dataset.file(key)).affine
    dataset.array(key, lambda values: values, affine=affine + 2 * np.eye(4, k=3))


def flat(dataset, key):
    dataset.array(key, lambda values: values[:, :, 0])


def stack(dataset, key):
    dataset.array(key, lambda values: np.stack([values] * 3, -1))


def shorten(dataset, key):
    dataset.array(key, lambda values: values[:, :, :-1])


FAULTS = {
    "truncated": (
        1,
        "first",
        lambda d, k: d.bytes(k, lambda content: content[: len(content) // 2]),
        "the file ends early",
    ),
    "cut in the header": (1, "first", lambda d, k: d.bytes(k, lambda content: content[:60]), "cannot be read"),
    "empty": (2, "first", lambda d, k: d.bytes(k, lambda _: b""), "the file is empty"),
    "web page": (2, "first", lambda d, k: d.bytes(k, lambda _: b"<html>404 Not Found</html>" * 40), "cannot be read"),
    "missing": (3, "first", lambda d, k: d.file(k).unlink(), "there is no such file"),
    "no label": (3, "label", lambda d, k: d.file(k).unlink(), "there is no such file"),
    "label elsewhere": (8, "label", shift, "have another affine"),
    "label of another shape": (8, "label", shorten, "'label' is"),
    "singular affine": (9, "first", lambda d, k: d.header(k, NIFTI_SFORM, np.zeros(12, np.float32)), "is singular"),
    "NaN affine": (9, "first", lambda d, k: d.header(k, NIFTI_SFORM, np.full(12, np.nan, np.float32)), "is not finite"),
    "4-D": (10, "first", stack, "3-D volume is expected"),
    "2-D": (11, "first", flat, "is not a 3-D volume"),
}


@pytest.mark.row(1, 2, 3, 8, 9, 10, 11)
@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_file_stops_the_training_before_it_begins(bundle, dataset, name):
    _, key, damage, cause = FAULTS[name]
    key = getattr(bundle.subject, key, key)
    damage(dataset, key)
    message = bundle.train(dataset).assert_error(3, dataset.case["id"], dataset.file(key), cause)
    assert message.count("\n") <= 3  # one error, one problem
    bundle.assert_nothing_written()


@pytest.mark.row(3)
def test_all_faults_are_in_one_error(bundle, dataset):
    first, other = dataset.sections["training"][:2]
    dataset.file(bundle.subject.first).unlink()
    dataset.file("label", other).unlink()
    dataset.bytes("label", lambda content: content[:-30])
    run = bundle.train(dataset)
    run.assert_error(3, "3 error(s)", first["id"], other["id"], dataset.file("label"), dataset.file("label", other))


@pytest.mark.row(1, 2, 4, 9, 11)
@pytest.mark.parametrize("name", ["truncated", "cut in the header", "empty", "web page", "singular affine", "2-D"])
def test_inference_names_the_file_too(bundle, dataset, name):
    damage = FAULTS[name][2]
    damage(dataset, bundle.subject.first)
    item = {key: str(dataset.root / value) for key, value in dataset.case.items() if str(value).endswith(".nii.gz")}
    item.pop("label")
    bundle.infer({"id": "case7"} | item).assert_error(3, "case7", dataset.file(bundle.subject.first))
    bundle.assert_nothing_written()


@pytest.mark.row(18)
@pytest.mark.only_for(lambda subject: subject.second, "bundles of several modalities")
def test_a_missing_modality_is_named(bundle, dataset):
    dataset.file(bundle.subject.second).unlink()
    del dataset.case[bundle.subject.second]
    dataset.save()
    bundle.train(dataset).assert_error(3, dataset.case["id"], bundle.subject.second, "missing")
    bundle.assert_nothing_written()


@pytest.mark.row(19)
@pytest.mark.parametrize("path", ["../outside.nii.gz", "/etc/passwd"])
def test_a_datalist_cannot_reach_outside_its_folder(bundle, dataset, path):
    dataset.case[bundle.subject.first] = path
    dataset.save()
    bundle.train(dataset).assert_error(3, dataset.case["id"], path, "lies outside dataset_dir")


@pytest.mark.row(20)
@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda s: s["training"][1].update(id=s["training"][0]["id"]), "the id occurs 2 times"),
        (lambda s: [item.update(patient="p") for item in s["training"]], "patient p is in several splits"),
        (lambda s: s.update(training=[]), "the section 'training' is empty"),
        (lambda s: s.pop("training"), "there is no section 'training'"),
    ],
)
def test_a_datalist_that_contradicts_itself(bundle, dataset, change, cause):
    change(dataset.sections)
    dataset.save()
    bundle.train(dataset).assert_error(3, cause)


@pytest.mark.row(20)
@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '{"training": 3}'])
def test_a_datalist_that_is_none(bundle, dataset, text):
    dataset.path.write_text(text)
    bundle.train(dataset).assert_error(3, dataset.path, "datalist")
