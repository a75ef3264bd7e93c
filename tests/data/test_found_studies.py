"""Studies below a path: as many as there are, each once, and nothing left out in silence."""

import os

import nibabel as nib
import numpy as np
import pytest
from dicom_files import write_dicom_series

from monai_ext.data import find_studies
from monai_ext.errors import ConfigError, DataError
from monai_ext.transforms import BpMRIPreprocessing, PETCTPreprocessing, SlicePreprocessing, VolumePreprocessing

PROSTATE, PETCT = BpMRIPreprocessing().naming, PETCTPreprocessing().naming
FLAIR, ANY = SlicePreprocessing().naming, VolumePreprocessing().naming


@pytest.fixture
def tree(tmp_path):
    """``tree(names)`` makes files below a folder, which it returns."""

    def make(*names):
        for name in names:
            (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "in" / name).write_bytes(b"")
        return tmp_path / "in"

    return make


def found_in(root, naming, **options):
    found = find_studies(root, naming, root.parent / "links", **options)
    items = {
        item["id"]: {k: os.path.relpath(v, root) for k, v in item.items() if k in naming.keys} for item in found.items
    }
    assert len(items) == len(found.items)
    return items, found


def unused(found, root):
    return {os.path.relpath(thing, root): why for why, things in found.unused.items() for thing in things}


def test_files_of_one_folder_are_grouped_by_their_names(tree):
    root = tree(*(f"p{n}_{key}.mha" for n in (1, 2) for key in ("t2w", "adc", "hbv", "seg", "sag")), "p2_gland.nii.gz")
    items, found = found_in(root, PROSTATE)
    assert items == {
        "p1": {"t2w": "p1_t2w.mha", "adc": "p1_adc.mha", "hbv": "p1_hbv.mha"},
        "p2": {"t2w": "p2_t2w.mha", "adc": "p2_adc.mha", "hbv": "p2_hbv.mha", "gland": "p2_gland.nii.gz"},
    }
    assert unused(found, root) == {
        **{f"p{n}_seg.mha": "a mask, by its name" for n in (1, 2)},
        **{f"p{n}_sag.mha": "of another modality, by its name" for n in (1, 2)},
    }
    assert not any("failure" in item for item in found.items)


def test_folders_of_patients_in_any_depth_and_capitals(tree):
    root = tree("a/T2W.nii.gz", "a/ADC.nii.gz", "a/HBV.nii.gz", "x/y/b/t2w.mha", "x/y/b/adc.mha", "x/y/b/hbv.mha")
    items, _ = found_in(root, PROSTATE)
    assert {case: set(item) for case, item in items.items()} == {"a": set(SERIES), "b": set(SERIES)}


@pytest.mark.parametrize(
    ("naming", "names", "ids"),
    [
        (PETCT, ["1/SUV.nii.gz", "1/CTres.nii.gz", "1/SEG.nii.gz", "2/SUV.nii.gz", "2/CTres.nii.gz"], {"1", "2"}),
        (PETCT, ["c_0000.nii.gz", "c_0001.nii.gz", "d_0000.nii.gz", "d_0001.nii.gz"], {"c", "d"}),
        (FLAIR, ["b/b-t2f.nii.gz", "b/b-t1n.nii.gz", "b/b-seg.nii.gz"], {"b"}),
        (FLAIR, ["b_flair.nii.gz", "b_t1.nii.gz", "c_flair.nii.gz", "b_seg.nii.gz"], {"b", "c"}),
        (ANY, ["imagesTr/h1.nii.gz", "imagesTr/h2.nii.gz", "labelsTr/h1.nii.gz"], {"h1", "h2"}),
        (ANY, ["s1/ct.nii.gz", "s1/segmentations/liver.nii.gz", "s2/ct.nii.gz"], {"s1", "s2"}),
        (ANY, ["._h1.nii.gz", ".hidden/h2.nii.gz", "h3.nrrd"], {"h3"}),
        (PROSTATE, ["p1.nii.gz", "p2.nii.gz"], {"p1", "p2"}),  # stacks of all modalities
        (PROSTATE, ["p1.nii.gz", "p1_adc.nii.gz", "p1_hbv.nii.gz"], {"p1"}),
    ],
)
def test_namings_of_data_sets(tree, naming, names, ids):
    assert set(found_in(tree(*names), naming)[0]) == ids


def test_a_patient_without_the_first_modality_is_a_failure(tree):
    root = tree("p1_t2w.mha", "p1_adc.mha", "p1_hbv.mha", "p2_adc.mha", "p2_hbv.mha")
    items, found = found_in(root, PROSTATE)
    assert set(items) == {"p1", "p2"}
    (failure,) = [item["failure"] for item in found.items if "failure" in item]
    assert failure["cause"] == "there is no t2w beside p2_adc.mha, p2_hbv.mha"


def test_two_files_of_one_modality_are_a_failure(tree):
    _, found = found_in(tree("p1_t2w.mha", "p1_t2w.nii.gz", "p1_adc.mha", "p1_hbv.mha"), PROSTATE)
    assert found.items[0]["failure"]["cause"] == "there are several files of one modality: p1_t2w.mha, p1_t2w.nii.gz"


def test_results_are_no_scans(tree):
    root = tree("p1.nii.gz", "out/p1/p1_seg.nii.gz", "out/p1/p1_odd.nii.gz")
    assert set(found_in(root, ANY, without=root / "out")[0]) == {"p1"}
    assert len(found_in(root, ANY)[0]) == 2


def test_one_file_stands_for_its_study(tree):
    root = tree("p1_t2w.mha", "p1_adc.mha", "p1_hbv.mha", "p2_t2w.mha", "odd.mha")
    for name in ("p1_t2w.mha", "p1_adc.mha"):
        (item,) = find_studies(root / name, PROSTATE, root / "links").items
        assert {item["id"], *(os.path.basename(item[key]) for key in ("t2w", "adc", "hbv"))} == {
            *("p1", "p1_t2w.mha", "p1_adc.mha", "p1_hbv.mha")
        }
    (item,) = find_studies(root / "odd.mha", PROSTATE, root / "links").items
    assert item == {"id": "odd", "t2w": str(root / "odd.mha")}


def test_nothing_there(tree, tmp_path):
    with pytest.raises(DataError, match=r"no such file or folder"):
        find_studies(tmp_path / "none", ANY, tmp_path)
    root = tree("notes.txt", "p_seg.nii.gz", "p_t1.nii.gz")
    with pytest.raises(DataError) as caught:
        find_studies(root, FLAIR, tmp_path)
    for part in (root, "no study was found", "p_seg.nii.gz: a mask", "p_t1.nii.gz: of another modality", "flair"):
        assert str(part) in str(caught.value)
    with pytest.raises(ConfigError, match="--series names t2; the modalities are flair"):
        find_studies(root, FLAIR, tmp_path, series={"t2": "x"})


def scan(shift=0):
    affine = np.diag([2.0, 2, 5, 1])
    affine[:3, 3] = shift
    return nib.Nifti1Image(np.arange(8 * 7 * 4, dtype=np.int16).reshape(8, 7, 4), affine)


SERIES = {"t2w": "t2_tse_tra", "adc": "diff_ADC", "hbv": "diff_b1400"}


def test_an_unsorted_export(tmp_path):
    root = tmp_path / "in"
    for patient in ("a", "b"):
        for number, text in enumerate([*SERIES.values(), "localizer", "dce"]):
            name = {"name": lambda z, p=patient, n=number: f"{p}{z}{n}"}
            write_dicom_series(scan(number), root, patient, "MR", text, **name)
    found = find_studies(root, PROSTATE, tmp_path / "links")
    assert {item["id"]: set(item) - {"id", "patient"} for item in found.items} == {
        "a_20240229": {"t2w", "adc", "hbv"},
        "b_20240229": {"t2w", "adc", "hbv"},
    }
    assert [item["patient"] for item in found.items] == ["a", "b"]
    for item in found.items:
        assert len({item[key] for key in SERIES}) == 3
        assert all(len(os.listdir(item[key])) == 4 for key in SERIES)
    lines = "\n".join(found.describe())
    for patient in ("a", "b"):
        for text in ("localizer", "dce"):
            assert f"study {patient}_20240229: MR '{text}' (4 images): not recognised as t2w or adc or hbv" in lines


def test_the_name_of_a_folder_says_what_a_series_is(tmp_path):
    for key in SERIES:
        write_dicom_series(scan(), tmp_path / "p1" / key, "a", "MR", f"unknown {key[::-1]}")
    (item,) = find_studies(tmp_path / "p1", PROSTATE, tmp_path / "links").items
    assert {key: item[key] for key in SERIES} == {key: str(tmp_path / "p1" / key) for key in SERIES}
    assert "failure" not in item


@pytest.mark.parametrize(
    ("texts", "cause"),
    [
        (["t2_tse_tra", "diff_ADC"], "no series was recognised as hbv"),
        ([*SERIES.values(), "t2_tra_2"], "2 series may be t2w: MR 't2_tra_2' (4 images); MR 't2_tse_tra' (4 images)"),
        (["t2_tse_tra", "diff_ADC", "odd"], "no series was recognised as hbv; not recognised: MR 'odd' (4 images)"),
    ],
)
def test_a_series_that_is_missing_or_not_the_only_one(tmp_path, texts, cause):
    for text in texts:
        write_dicom_series(scan(), tmp_path / "in", "a", "MR", text, lambda z, t=text: f"{t}{z}")
    (item,) = find_studies(tmp_path / "in", PROSTATE, tmp_path / "links").items
    assert item["failure"]["cause"] == cause
    assert "--series" in item["failure"]["remedy"]
    words = {"hbv": "odd"} if "odd" in texts else {"t2w": "tse"}
    (item,) = find_studies(tmp_path / "in", PROSTATE, tmp_path / "links", words).items
    assert ("failure" in item) == (len(texts) == 2)


def test_studies_of_one_patient_have_ids_of_their_own(tmp_path):
    for study in ("first", "second"):
        for text in SERIES.values():
            write_dicom_series(scan(), tmp_path / "in" / study / text, "A b/c", "MR", text, study=study)
    found = find_studies(tmp_path / "in", PROSTATE, tmp_path / "links")
    ids = {item["id"] for item in found.items}
    assert len(ids) == 2
    assert all(case.startswith("A_b_c_20240229_") for case in ids)
