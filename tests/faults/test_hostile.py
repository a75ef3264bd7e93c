"""Data that would give a plausible result from wrong input, or take more memory than there is."""

import gzip
import json
import shutil

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_files import write_dicom_series


def files_of(bundle, dataset):
    """An item for inference: the case's images, copies that a test may change, and their paths by key."""
    item = {"id": "case7"}
    for key, path in dataset.case.items():
        if str(path).endswith(".nii.gz") and key != "label":
            target = dataset.file(key)
            content = target.read_bytes()
            target.unlink()
            target.write_bytes(content)
            item[key] = str(target)
    return item


@pytest.mark.row(45)
@pytest.mark.parametrize("factor", [10, 30, 0.001])
def test_a_header_in_another_unit(bundle, dataset, factor):
    item = files_of(bundle, dataset)
    for key, path in item.items():
        if key != "id":
            image = nib.load(path)
            scaled = image.affine @ np.diag([factor] * 3 + [1])
            nib.save(nib.Nifti1Image(np.asarray(image.dataobj), scaled), path)
    run = bundle.infer(item)
    run.assert_error(3, "case case7", "mm are expected", "preprocessing#limits")
    bundle.assert_no_images()


@pytest.mark.row(45)
@pytest.mark.only_for(lambda subject: subject.phantom != "ct_multiorgan")
def test_a_scan_of_what_the_bundle_is_not_for(bundle, dataset):
    """A CT of the whole body, which another bundle takes, may be so large or so coarse."""
    item = files_of(bundle, dataset)
    side = 25 if bundle.subject.phantom == "petct" else 18
    for key, path in item.items():
        if key != "id":
            voxels = np.asarray(nib.load(path).dataobj)[:40, :40, :40]
            nib.save(nib.Nifti1Image(voxels, np.diag([side, side, side, 1])), path)
    run = bundle.infer(item)
    run.assert_error(3, "case case7", "mm are expected", "preprocessing#limits")
    bundle.assert_no_images()


@pytest.mark.row(45)
@pytest.mark.parametrize("kind", ["complex", "colour"])
def test_voxels_that_are_no_numbers(bundle, dataset, kind):
    item = files_of(bundle, dataset)
    first = item[bundle.subject.first]
    image = nib.load(first)
    dtype = np.complex64 if kind == "complex" else [("R", "u1"), ("G", "u1"), ("B", "u1")]
    nib.save(nib.Nifti1Image(np.zeros(image.shape, dtype), image.affine), first)
    bundle.infer(item).assert_error(3, "case7", first, f"its voxels are {kind}")
    bundle.train(dataset).assert_error(3, dataset.case["id"], first, f"its voxels are {kind}")
    bundle.assert_no_images()


@pytest.mark.row(36)
def test_more_voxels_than_are_read(bundle, dataset):
    """A small file whose header is true, but whose voxels would fill the memory."""
    item = files_of(bundle, dataset)
    first, side = item[bundle.subject.first], 260
    header = nib.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((side,) * 3)
    header["magic"], header["vox_offset"] = b"n+1", 352
    with open(first, "wb") as file:
        file.write(gzip.compress(header.binaryblock + bytes(4 + side**3), 1))
    budget = 10**7
    run = bundle.infer(item, env={"MONAI_EXT_MAX_VOXELS": str(budget)})
    run.assert_error(3, "case7", first, f"{side**3} voxels", f"at most {budget}", "MONAI_EXT_MAX_VOXELS")
    missing = bundle.infer(item | {bundle.subject.first: "/none.nii.gz"})
    missing.assert_error(3, "case7", "no such file")
    assert run.peak_mb < missing.peak_mb + 20
    values = np.zeros((215,) * 3, np.float32)  # as many voxels as may be, refused for one of them
    values[1, 2, 3] = np.nan
    nib.save(nib.Nifti1Image(values, np.eye(4)), first)
    run = bundle.infer(item, env={"MONAI_EXT_MAX_VOXELS": str(budget)})
    run.assert_error(3, "case7", first, "1 voxels are NaN")
    assert run.peak_mb < missing.peak_mb + 1.2 * budget * 16 / 2**20


@pytest.mark.row(36)
def test_more_voxels_than_are_read_in_a_dicom_series(bundle, dataset, tmp_path):
    """A series of many slices, and one of few files of many frames each."""
    item = files_of(bundle, dataset)
    first, budget = bundle.subject.first, 10**7
    missing = bundle.infer(item | {first: "/none.nii.gz"})
    modality = "PT" if first == "pet" else "MR"
    for kind, shape in {"slices": (220, 220, 220), "frames": (64, 64, 3)}.items():
        folder = tmp_path / kind
        image = nib.Nifti1Image(np.ones(shape, np.int16), np.diag([-1.0, -1, 2, 1]))
        write_dicom_series(image, folder, "p7", modality, "series")
        if kind == "frames":
            for path in folder.iterdir():
                file = pydicom.dcmread(path)
                file.NumberOfFrames, file.PixelData = 900, bytes(64 * 64 * 2 * 900)
                file.save_as(path)
        voxels = np.prod(shape) * (900 if kind == "frames" else 1)
        run = bundle.infer(item | {first: str(folder)}, env={"MONAI_EXT_MAX_VOXELS": str(budget)})
        run.assert_error(3, "case7", folder, f"{voxels} voxels", f"at most {budget}", "MONAI_EXT_MAX_VOXELS")
        assert run.peak_mb < missing.peak_mb + 1.2 * budget * 16 / 2**20
    bundle.assert_no_images()


@pytest.mark.row(36)
def test_a_header_that_names_a_file_outside_its_folder(bundle, dataset, tmp_path):
    item = files_of(bundle, dataset)
    (tmp_path / "secret").write_bytes(b"secret" * 10**4)
    header = dataset.root / "x.nhdr"
    header.write_text(
        "NRRD0004\ntype: uchar\ndimension: 3\nspace: left-posterior-superior\nsizes: 20 20 20\n"
        "space directions: (3,0,0) (0,3,0) (0,0,3)\nencoding: raw\nspace origin: (0,0,0)\ndata file: ../secret\n"
    )
    run = bundle.infer(item | {bundle.subject.first: str(header)})
    run.assert_error(3, "case7", header, "data file: ../secret, but a file beside the header is expected")
    bundle.assert_no_images()


@pytest.mark.row(46)
@pytest.mark.only_for(lambda subject: subject.phantom == "bpmri")
def test_a_gland_that_is_the_whole_scan(bundle, dataset):
    item = files_of(bundle, dataset)
    for path in (item["gland"], item["zones"]):  # adU-Net prefers the zones
        image = nib.load(path)
        nib.save(nib.Nifti1Image(np.full(image.shape, 255, np.uint8), image.affine), path)
    run = bundle.infer(item)
    assert run.returncode == 0, run.output[-3000:]
    assert "the gland mask fills 100% of the scan; is it of the gland?" in run.output
    words = ["--bundle", bundle.subject.name, "--datalist", dataset.path, "--dataset_dir", dataset.root]
    assert "the gland mask fills 100%" in bundle.command("-m", "monai_ext.check", *words).stdout


@pytest.mark.row(47)
def test_weights_that_were_changed(bundle, dataset, tmp_path):
    """64 bytes within a tensor: nothing else would notice."""
    assert bundle.train(dataset).returncode == 0
    model = tmp_path / "out/model.pt"
    record = json.loads((tmp_path / "out/model.record.json").read_text())
    assert len(record["sha256"]) == 64
    assert bundle.evaluate(dataset, {"model": model}).returncode == 0
    content = bytearray(model.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(byte ^ 0x01 for byte in content[middle : middle + 64])
    model.write_bytes(content)
    bundle.evaluate(dataset, {"model": model}).assert_error(4, model, "is not what model.record.json says")


@pytest.mark.row(48)
@pytest.mark.parametrize("how", ["copy", "same"])
def test_one_image_is_two_patients(bundle, dataset, how):
    first = bundle.subject.first
    other = dataset.sections["testing"][0]
    if how == "same":
        other[first] = dataset.case[first]
    else:
        path = dataset.file(first, other)
        path.unlink()
        shutil.copyfile(dataset.file(first), path)
    dataset.save()
    case = dataset.case["id"], other["id"]
    bundle.train(dataset).assert_error(3, *case, "the file is that of case", "name one patient for both")
    other["patient"] = dataset.case["patient"]
    dataset.save()
    bundle.train(dataset).assert_error(3, "is in several splits")
    bundle.assert_nothing_written()


@pytest.mark.row(48)
@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda text: text.replace('{"training"', '{"training": [], "training"', 1), ["'training' occurs twice"]),
        (lambda text: text.replace('"fold": 0', '"fold": "0"', 1), ["folds are numbers and words", "'0' in item"]),
    ],
    ids=["a section twice", "folds of two kinds"],
)
def test_a_datalist_that_says_two_things(bundle, dataset, change, parts):
    text = change(dataset.path.read_text())
    dataset.path.unlink()
    dataset.path.write_text(text)
    bundle.train(dataset).assert_error(3, dataset.path, *parts)
    bundle.assert_nothing_written()


@pytest.mark.row(48)
def test_a_patient_in_training_and_in_testing_whatever_the_fold(bundle, dataset):
    dataset.sections["testing"][0] |= {"patient": dataset.case["patient"], "fold": dataset.case["fold"]}
    dataset.save()
    bundle.train(dataset).assert_error(3, f"patient {dataset.case['patient']} is in several splits", "testing")
    bundle.assert_nothing_written()
