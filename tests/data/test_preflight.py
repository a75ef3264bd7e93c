"""Each row of the preflight on a real fault: what is found, and that the case, the file and a remedy are named."""

import gzip
import json
import os

import commands
import itk
import nibabel as nib
import numpy as np
import pytest

from monai_ext.data import check_datalist
from monai_ext.data.io.image_header import read_header

AFFINE = np.diag([1.0, 1, 3, 1])


def _truncate(data):
    file = data.root / "a_t2w.nii.gz"
    noise = np.random.default_rng(0).integers(0, 1000, (12, 10, 4))
    data.write(file.name, noise, AFFINE)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) - 40])


def _header_bytes(data, key, offset, values):
    """Overwrite part of a NIfTI header, which nibabel would refuse."""
    file = data.root / f"a_{key}.nii.gz"
    content = bytearray(gzip.decompress(file.read_bytes()))
    raw = np.asarray(values).tobytes()
    content[offset : offset + len(raw)] = raw
    file.write_bytes(gzip.compress(bytes(content)))


def _set(data, case, **fields):
    data.content["training"][case].update(fields)


FAULTS = {
    "truncated": (_truncate, "a", "a_t2w.nii.gz", "the file ends early"),
    "empty file": (lambda d: (d.root / "a_adc.nii.gz").write_bytes(b""), "a", "a_adc.nii.gz", "the file is empty"),
    "a web page": (
        lambda d: (d.root / "a_adc.nii.gz").write_text("<html>not found</html>"),
        "a",
        "a_adc.nii.gz",
        "the header cannot be read",
    ),
    "missing": (lambda d: (d.root / "b_label.nii.gz").unlink(), "b", "b_label.nii.gz", "no such file"),
    "singular affine": (
        lambda d: _header_bytes(d, "t2w", 280, np.zeros(12, np.float32)),
        "a",
        "a_t2w.nii.gz",
        "affine of 't2w' is singular",
    ),
    "NaN affine": (
        lambda d: _header_bytes(d, "t2w", 280, np.full(4, np.nan, np.float32)),
        "a",
        "a_t2w.nii.gz",
        "affine of 't2w' is not finite",
    ),
    "4-D file": (
        lambda d: d.write("a_adc.nii.gz", np.ones((6, 5, 4, 3)), AFFINE),
        "a",
        "a_adc.nii.gz",
        "'adc' is 6x5x4x3, but one 3-D volume is expected",
    ),
    "2-D file": (
        lambda d: d.write("a_adc.nii.gz", np.ones((6, 5)), AFFINE),
        "a",
        "a_adc.nii.gz",
        "'adc' is not a 3-D volume but 6x5",
    ),
    "label of another shape": (
        lambda d: d.write("b_label.nii.gz", np.ones((12, 10, 5)), AFFINE),
        "b",
        "b_label.nii.gz",
        "'label' is 12x10x5, 't2w' is 12x10x4",
    ),
    "label of another affine": (
        lambda d: d.write("b_label.nii.gz", np.ones((12, 10, 4)), np.diag([1.1, 1, 3, 1])),
        "b",
        "b_label.nii.gz",
        "voxels lie up to 1.10 mm apart",
    ),
    "of another patient": (
        lambda d: d.write("b_adc.nii.gz", np.ones((6, 5, 4)), AFFINE + np.eye(4, k=3) * 500),
        "b",
        "b_adc.nii.gz",
        "'adc' and 't2w' do not overlap",
    ),
    "outside by dots": (
        lambda d: _set(d, 0, adc="../a_adc.nii.gz"),
        "a",
        "../a_adc.nii.gz",
        "lies outside dataset_dir",
    ),
    "outside, absolute": (lambda d: _set(d, 0, adc="/etc/passwd"), "a", "/etc/passwd", "lies outside dataset_dir"),
    "modality missing": (lambda d: d.content["training"][0].pop("adc"), "a", "", "'adc' is missing"),
    "duplicate id": (lambda d: _set(d, 1, id="a", fold=0), "a", "", "the id occurs 2 times"),
    "patient in two folds": (
        lambda d: [_set(d, i, patient="p") for i in (0, 1)],
        "",
        "",
        "patient p is in several splits: fold 0, fold 1",
    ),
    "patient in training and test": (
        lambda d: d.content["testing"][0].update(patient="a"),
        "",
        "",
        "patient a is in several splits: fold 0, testing",
    ),
    "empty section": (lambda d: d.content.update(extra=[]), "", "", "the section 'extra' is empty"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_error_that_names_case_file_cause_and_remedy(dataset, name):
    spoil, case, file, cause = FAULTS[name]
    assert check_datalist(dataset.path, dataset.root, required_keys=["t2w", "adc"]) == []
    spoil(dataset)
    dataset.save()
    (problem,) = check_datalist(dataset.path, dataset.root, required_keys=["t2w", "adc"])
    assert problem.severity == "error"
    assert problem.case == case
    assert problem.file in (file, str(dataset.root / file) if file else "")
    assert cause in problem.cause
    assert problem.remedy


def test_sections_and_folds_that_are_not_there(dataset):
    (problem,) = check_datalist(dataset.path, dataset.root, section="validation")
    assert "no section 'validation'" in problem.cause
    (problem,) = check_datalist(dataset.path, dataset.root, section="training", folds=7)
    assert "folds=7" in problem.cause
    assert "0, 1" in problem.remedy
    (problem,) = check_datalist(dataset.path, dataset.root / "nowhere")
    assert "not a directory" in problem.cause


def test_paths_outside_are_allowed_on_request_and_dots_inside_always(dataset, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "x.nii.gz"
    other.write_bytes((dataset.root / "a_adc.nii.gz").read_bytes())
    dataset.content["training"][0]["adc"] = str(other)
    dataset.content["training"][1]["adc"] = "sub/../b_adc.nii.gz"
    dataset.save()
    assert check_datalist(dataset.path, dataset.root, allow_outside=True) == []
    assert len(check_datalist(dataset.path, dataset.root)) == 1


def test_a_stacked_file_is_accepted_under_its_documented_key(dataset):
    dataset.write("stack.nii.gz", np.ones((12, 10, 4, 3)), AFFINE)
    dataset.content["training"][0]["image"] = "stack.nii.gz"
    dataset.save()
    assert check_datalist(dataset.path, dataset.root) == []


def test_a_file_without_position_is_a_warning(dataset):
    image = nib.Nifti1Image(np.ones((12, 10, 4), np.int16), None)
    nib.save(image, dataset.root / "a_t2w.nii.gz")
    del dataset.content["training"][0]["label"], dataset.content["training"][0]["adc"]
    dataset.save()
    (problem,) = check_datalist(dataset.path, dataset.root)
    assert problem.severity == "warning"


def test_gzip_of_several_members_is_whole(dataset):
    """Parallel compressors write several members; the length of the last one is not that of the file."""
    file = dataset.root / "a_t2w.nii.gz"
    content = gzip.decompress(file.read_bytes())
    file.write_bytes(gzip.compress(content[:400]) + gzip.compress(content[400:]))
    assert check_datalist(dataset.path, dataset.root) == []


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_headers_agree_between_formats(tmp_path, suffix):
    """The affine of an ITK file is that of the NIfTI which ITK writes of the same image."""
    image = itk.image_from_array(np.random.default_rng(0).integers(0, 999, (4, 5, 6)).astype(np.int16))
    image.SetSpacing([0.5, 0.7, 3.0])
    image.SetOrigin([-11.0, 7.0, 20.0])
    turn = np.deg2rad(20)
    image.SetDirection(np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]]))
    for name in (f"x{suffix}", "x.nii.gz"):
        itk.imwrite(image, str(tmp_path / name), compression=True)
    one, other = read_header(tmp_path / f"x{suffix}"), read_header(tmp_path / "x.nii.gz")
    assert one.shape == other.shape == (6, 5, 4)
    np.testing.assert_allclose(one.affine, other.affine, atol=1e-5)


@pytest.mark.parametrize("compression", [True, False])
def test_truncated_meta_image(dataset, compression):
    image = itk.image_from_array(np.random.default_rng(0).integers(0, 999, (4, 10, 12)).astype(np.int16))
    file = dataset.root / "a.mha"
    itk.imwrite(image, str(file), compression=compression)
    dataset.content = {"training": [{"id": "a", "t2w": "a.mha"}]}
    dataset.save()
    assert check_datalist(dataset.path, dataset.root) == []
    os.truncate(file, file.stat().st_size - 400)
    (problem,) = check_datalist(dataset.path, dataset.root)
    assert "ends early" in problem.cause


def _command(*arguments):
    return commands.run("-m", "monai_ext.check", *arguments)


def test_command_prints_a_table_writes_json_and_sets_the_exit_code(dataset):
    out = dataset.root / "report.json"
    options = ("--datalist", dataset.path, "--dataset_dir", dataset.root, "--keys", "t2w,adc", "--json", out)
    options += ("--headers_only",)  # its voxels are all 1
    clean = _command(*options)
    assert clean.returncode == 0, clean.stderr
    assert json.loads(out.read_text()) == {"errors": 0, "warnings": 0, "problems": []}

    (dataset.root / "b_adc.nii.gz").unlink()
    faulty = _command(*options)
    assert faulty.returncode == 3
    assert "b_adc.nii.gz" in faulty.stdout
    (problem,) = json.loads(out.read_text())["problems"]
    assert problem["case"] == "b"

    misspelt = _command(*options, "--key", "t2w")
    assert misspelt.returncode == 2
    assert "--keys" in misspelt.stderr


@pytest.mark.parametrize("whole", [True, False], ids=["the same bytes", "the same ends"])
def test_a_copy_is_found_by_its_whole_content(dataset, whole):
    """Files of one size whose first and last 64 KiB are alike, as of scans with air at both ends."""
    for case, middle in (("a", 7), ("b", 7 if whole else 8)):
        values = np.zeros((64, 64, 64), np.int16)
        values[32, 32, 32] = middle
        nib.save(nib.Nifti1Image(values, np.eye(4)), dataset.root / f"{case}_t2w.nii")
    for item in dataset.content["training"]:
        item.update({"t2w": f"{item['id']}_t2w.nii"})
        item.pop("label")
        item.pop("adc")
    dataset.save()
    found = [problem for problem in check_datalist(dataset.path, dataset.root) if "that of case" in problem.cause]
    assert [(problem.case, "a_t2w.nii" in problem.cause) for problem in found] == ([("b", True)] if whole else [])
