"""Files that can be read but hold invalid values, which are found when the case is prepared, before the first step."""

import json
import math
import re

import nibabel as nib
import numpy as np
import pytest


def spoil(value, count=2):
    """Put a value into some voxels, in float32."""

    def change(values):
        values = np.ascontiguousarray(values, dtype=np.float32)
        values.reshape(-1)[[values.size // 2 + i for i in range(count)]] = value
        return values

    return change


def files_of(dataset, item):
    return {key: str(dataset.root / value) for key, value in item.items() if str(value).endswith(".nii.gz")}


def unlabelled(dataset):
    """The item for inference, which tests damage."""
    return {"id": "case7"} | {key: path for key, path in files_of(dataset, dataset.case).items() if key != "label"}


@pytest.mark.row(4)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_voxels_that_are_not_finite(bundle, dataset, value):
    key = bundle.subject.second or bundle.subject.first
    dataset.array(key, spoil(value))
    bundle.train(dataset).assert_error(3, dataset.case["id"], dataset.file(key), "2 voxels are NaN or infinite")
    bundle.assert_nothing_written()


@pytest.mark.row(4)
def test_repair_replaces_and_counts_them(bundle, dataset):
    key = bundle.subject.second or bundle.subject.first
    dataset.array(key, spoil(math.nan))
    run = bundle.infer(unlabelled(dataset), {"preprocessing#repair": True})
    assert run.returncode == 0, run.output[-3000:]
    assert f"case case7: {dataset.file(key)}: 2 NaN or infinite voxels of {key} set to 0" in run.output


@pytest.mark.row(5)
def test_a_constant_volume_is_a_warning(bundle, dataset):
    key = bundle.subject.second or bundle.subject.first
    dataset.array(key, lambda values: np.full_like(values, 7))
    run = bundle.infer(unlabelled(dataset))
    assert run.returncode == 0, run.output[-3000:]
    assert f"case case7: {dataset.file(key)}: {key} is constant (7)" in run.output


@pytest.mark.row(6, 7)
@pytest.mark.only_for(lambda subject: subject.second, "bundles of several modalities")
def test_a_modality_on_another_grid(bundle, dataset):
    """Another order of the axes and more voxels, at the same place: the same prediction, or a geometry error."""
    key = bundle.subject.second
    item = unlabelled(dataset)
    before = bundle.infer(item, {"output_dir": bundle.folder / "before"})
    assert before.returncode == 0, before.output[-3000:]
    image = nib.load(dataset.file(key))
    values = np.pad(np.asarray(image.dataobj), 2, mode="edge")
    padded = nib.Nifti1Image(values, image.affine @ nib.affines.from_matvec(np.eye(3), [-2, -2, -2]))
    turned = padded.as_reoriented(np.array([[2, -1], [0, 1], [1, 1]]))
    dataset.file(key).unlink()
    nib.save(turned, dataset.file(key))
    after = bundle.infer(item, {"output_dir": bundle.folder / "after"})
    if not bundle.subject.resampled:
        after.assert_error(3, "case7", dataset.file(key))
        return
    assert after.returncode == 0, after.output[-3000:]
    maps = [next((bundle.folder / name).rglob("*probability*.nii.gz")) for name in ("before", "after")]
    one, other = (np.asarray(nib.load(path).dataobj) for path in maps)
    assert np.ptp(one) > 0
    # What lay outside the scanned part was 0 and is the edge's value now; inside nothing may have moved.
    assert np.abs(one - other).mean() < 0.02 * np.ptp(one)


@pytest.mark.row(12)
def test_a_scan_smaller_than_the_patch(bundle, dataset):
    item = {"id": "case7"}
    for key, path in files_of(dataset, dataset.case).items():
        image = nib.load(path)
        middle = [n // 2 for n in image.shape]
        half = [max(2, round(24 / zoom)) if axis < 2 else 2 for axis, zoom in enumerate(image.header.get_zooms())]
        small = image.slicer[tuple(slice(m - h, m + h) for m, h in zip(middle, half))]
        dataset.file(key).unlink()
        nib.save(small, dataset.file(key))
        item[key] = path
    item.pop("label")
    run = bundle.infer(item)
    assert run.returncode == 0, run.output[-3000:]
    mask = nib.load(next((bundle.folder / "inference").rglob("*_seg.nii.gz")))
    scan = nib.load(item[bundle.subject.first])
    assert mask.shape[:3] == scan.shape
    np.testing.assert_allclose(mask.affine, scan.affine, atol=1e-4)
    trained = bundle.train(dataset)
    assert trained.returncode in (0, 3), trained.output[-3000:]
    assert trained.returncode == 0 or trained.assert_error(3, "case")


@pytest.mark.row(13)
@pytest.mark.parametrize(("value", "shown"), [(200, "200"), (0.5, "0.5"), (-1, "-1")])
def test_a_label_with_values_it_must_not_have(bundle, dataset, value, shown):
    dataset.array("label", spoil(value))
    run = bundle.train(dataset)
    run.assert_error(3, dataset.case["id"], dataset.file("label"), shown, "allowed are [0, 1")
    bundle.assert_nothing_written()


@pytest.mark.row(13)
def test_a_float_label_of_whole_numbers_is_a_label(bundle, dataset):
    dataset.array("label", lambda values: values.astype(np.float32))
    run = bundle.train(dataset)
    assert run.returncode == 0, run.output[-3000:]


@pytest.mark.row(14)
def test_no_foreground_anywhere(bundle, dataset):
    for item in dataset.sections["training"]:
        dataset.array("label", np.zeros_like, item)
    run = bundle.train(dataset)
    training = len(dataset.sections["training"]) - 1  # one is for validation
    if bundle.subject.needs_foreground:
        run.assert_error(3, f"of the {training} cases")
    else:
        assert run.returncode == 0, run.output[-3000:]
        # adU-Net leaves out who taught its generators.
        assert re.search(r"\b([1-9]\d*) of \1 cases", run.output)


@pytest.mark.row(15)
def test_metrics_of_cases_without_lesion_and_of_empty_predictions(bundle, dataset):
    """Weights that predict background everywhere, on one case with and one without a lesion."""
    other = json.loads(json.dumps(dataset.case)) | {"id": "free", "patient": "a", "label": "free.nii.gz"}
    image = nib.load(dataset.file("label"))
    nib.save(nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), dataset.root / "free.nii.gz")
    dataset.sections["testing"] = [dataset.case | {"patient": "a"}, other]
    dataset.sections["training"] = dataset.sections["training"][1:]
    dataset.save()
    run = bundle.evaluate(dataset, {"model": bundle.background_weights()})
    assert run.returncode == 0, run.output[-3000:]
    metrics = json.loads((bundle.folder / "evaluate/report.json").read_text())["metrics"]
    assert metrics
    for name, row in metrics.items():
        assert row["n"] > 0 or row["mean"] is None, name
        assert row["mean"] is None or math.isfinite(row["mean"]), name
        if name.startswith("dice") and "lesion" in name:  # the case without lesion must not count
            assert row["mean"] == 0, (name, row)


@pytest.mark.row(16)
@pytest.mark.only_for(lambda subject: subject.second, "bundles of several modalities")
def test_a_stacked_file_of_another_number_of_modalities(bundle, dataset):
    first, second = bundle.subject.first, bundle.subject.second
    image = nib.load(dataset.file(first))
    path = dataset.root / "stack.nii.gz"
    nib.save(
        nib.Nifti1Image(np.stack([np.asarray(image.dataobj)] * bundle.subject.wrong_count, -1), image.affine), path
    )
    bundle.infer({"id": "case7", "image": str(path)}).assert_error(3, "case7", path, first, second)
    bundle.assert_nothing_written()
