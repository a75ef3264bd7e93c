"""Small trees of images in the layouts of data sets, and the datalist that a converter makes of them."""

import csv
import itertools
import json

import itk
import nibabel as nib
import numpy as np
import pytest

_numbers = itertools.count(1)


def write_image(path, voxels=(), shape=(4, 6, 5)):
    """An image with values in some voxels of a line: ``voxels[i]`` at (1, 2, i); no two files are alike."""
    number = next(_numbers)
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros(shape, np.int16)
    if len(voxels):
        array[1, 2, : len(voxels)] = voxels
    if path.suffix == ".mha":
        image = itk.image_from_array(array.T.copy())
        image.SetOrigin([number / 10**7, 0.0, 0.0])  # mm
        itk.imwrite(image, str(path))
    else:
        image = nib.Nifti1Image(array, np.diag([-1.0, -1, 1, 1]))
        image.header["descrip"] = str(number).encode()
        nib.save(image, path)


def write_table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def convert_and_read(convert, root, **options):
    """What a converter writes below ``root``, and its report."""
    out = root / "datalist.json"
    report = convert(str(root), str(out), **options)
    return json.loads(out.read_text()), report


def folds_of(content, section="training"):
    return {item["id"]: item.get("fold") for item in content[section]}


@pytest.fixture(scope="session")
def image():
    return write_image


@pytest.fixture(scope="session")
def table():
    return write_table


@pytest.fixture(scope="session")
def converted():
    return convert_and_read


@pytest.fixture(scope="session")
def folds():
    return folds_of


@pytest.fixture
def picai_root(tmp_path, image, table):
    """Six patients, the first with two studies; 3 positive cases, of which one has no expert mask."""
    root = tmp_path / "picai"
    labels = root / "picai_labels"
    experts = labels / "csPCa_lesion_delineations/human_expert/resampled"
    rows = []
    for number in range(7):
        patient, study = f"{10000 + max(number - 1, 0)}", f"{1000000 + number}"
        case = f"{patient}_{study}"
        positive = number in (0, 3, 5)
        rows.append(
            {"patient_id": patient, "study_id": study, "center": "RUMC", "case_ISUP": "3" if positive else "0"}
            | {"case_csPCa": "YES" if positive else "NO"}
        )
        for key in ("t2w", "adc", "hbv"):
            image(root / "images" / patient / f"{case}_{key}.mha")
        if number != 5:
            image(experts / f"{case}.nii.gz", [0, 0, 0, 3 * positive])
        image(labels / "csPCa_lesion_delineations/AI/Bosma22a" / f"{case}.nii.gz", [0, 0, 0, 2 * positive])
        image(labels / "anatomical_delineations/whole_gland/AI/Bosma22b" / f"{case}.nii.gz", [0, 0, 0, 1])
        image(labels / "anatomical_delineations/zonal_pz_tz/AI/HeviAI23" / f"{case}.nii.gz", [0, 0, 0, 2])
    table(labels / "clinical_information" / "marksheet.csv", rows)
    return root
