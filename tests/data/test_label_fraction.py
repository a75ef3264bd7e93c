import collections
import json

import nibabel as nib
import numpy as np
import pytest

from monai_ext.data import draw_patients, load_labelled, load_scans, load_unlabelled, patients_of
from monai_ext.errors import DataError

ITEMS = [{"id": f"{p}_{visit}", "patient": f"p{p}", "label": "x"} for p in range(40) for visit in range(1 + p % 2)]
BARE = [{"id": "bare"}, {"id": "null", "label": None}]


@pytest.mark.parametrize(("fraction", "count"), [(0.001, 1), (0.05, 2), (0.1, 4), (0.5, 20), (0.99, 40)])
def test_patients_are_drawn_whole_and_nested(fraction, count):
    drawn = draw_patients(ITEMS + BARE, fraction, seed=1)
    assert len(patients_of(drawn)) == count
    assert drawn == [item for item in ITEMS if item["patient"] in patients_of(drawn)]
    larger = draw_patients(ITEMS, min(1, 2 * fraction), seed=1)
    assert all(item in larger for item in drawn)


def test_all_of_them_with_and_without_label():
    assert draw_patients(ITEMS + BARE) == ITEMS + BARE


def test_draw_depends_on_seed_and_ids_not_on_order_or_company():
    first = set(patients_of(draw_patients(ITEMS, 0.1, seed=5)))
    assert set(patients_of(draw_patients(ITEMS[::-1], 0.1, seed=5))) == first
    assert set(patients_of(draw_patients(ITEMS, 0.1, seed=6))) != first
    counts = collections.Counter(p for seed in range(400) for p in patients_of(draw_patients(ITEMS, 0.1, seed)))
    # Each of 40 patients is drawn with probability 0.1: 40 times in 400 draws, standard deviation 6.
    assert len(counts) == 40
    assert max(abs(n - 40) for n in counts.values()) < 5 * 6


@pytest.mark.parametrize("fraction", [0, -1, 1.5])
def test_impossible_fractions_are_refused(fraction):
    with pytest.raises(ValueError, match=str(fraction)):
        draw_patients(ITEMS, fraction)


def test_nothing_to_draw_from():
    with pytest.raises(DataError, match="no case has a label"):
        draw_patients(BARE, 0.5)


def test_scans_keep_the_labels_of_drawn_patients_only(tmp_path):
    for n in range(13):
        nib.save(nib.Nifti1Image(np.full((4, 4, 4), n, np.uint8), np.eye(4)), tmp_path / f"{n}.nii.gz")
    cases = [{"id": f"c{n}", "fold": n % 3, "image": f"{n}.nii.gz", "label": f"{n}.nii.gz"} for n in range(12)]
    content = {"training": cases, "unlabelled": [{"id": "u0", "image": "12.nii.gz"}]}
    (tmp_path / "list.json").write_text(json.dumps(content))
    where = (tmp_path / "list.json", tmp_path)
    for arguments in ({"count": 3, "seed": 4}, {"fraction": 0.25, "seed": 1}):
        scans = load_scans(*where, exclude_folds=0, **arguments)
        labelled = load_labelled(*where, exclude_folds=0, **arguments)
        assert [item["id"] for item in scans if "label" in item] == [item["id"] for item in labelled]
        assert len(scans) == 9
        assert [{**item, "label": None} for item in scans] == [
            {**item, "label": None} for item in load_scans(*where, exclude_folds=0)
        ]
    assert sum("label" in item for item in load_scans(*where)) == 12


@pytest.fixture
def where(tmp_path):
    """A datalist of 12 patients in three folds, of whom c3 has no label, an unlabelled one with a label, and a test."""
    for n in range(15):
        nib.save(nib.Nifti1Image(np.full((4, 4, 4), n, np.uint8), np.eye(4)), tmp_path / f"{n}.nii.gz")
    cases = [{"id": f"c{n}", "fold": n % 3, "image": f"{n}.nii.gz", "label": f"{n}.nii.gz"} for n in range(12)]
    del cases[4]["label"]
    others = [{"id": "u12", "image": "12.nii.gz"}, {"id": "u13", "image": "13.nii.gz", "label": "13.nii.gz"}]
    test = [{"id": "t14", "image": "14.nii.gz", "label": "14.nii.gz"}]
    (tmp_path / "list.json").write_text(json.dumps({"training": cases, "unlabelled": others, "testing": test}))
    return tmp_path / "list.json", tmp_path


@pytest.mark.parametrize("drawn", [{}, {"count": 3, "seed": 4}, {"fraction": 0.3, "seed": 1}])
def test_unlabelled_scans_are_all_others_of_the_training_folds_without_their_labels(where, drawn):
    scans = load_unlabelled(*where, exclude_folds=0, **drawn)
    labelled = [item["id"] for item in load_labelled(*where, exclude_folds=0, **drawn)]
    everybody = [f"c{n}" for n in range(12) if n % 3] + ["u12", "u13"]
    assert [item["id"] for item in scans] == [case for case in everybody if case not in labelled]
    assert not any("label" in item for item in scans)
    assert all("image" in item for item in scans)


def test_no_scan_without_label_is_said(where):
    path, folder = where
    content = json.loads(path.read_text())
    del content["unlabelled"]
    content["training"] = [case for case in content["training"] if "label" in case]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"all 11 scans .* section unlabelled"):
        load_unlabelled(path, folder)
