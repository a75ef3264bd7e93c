"""Ids of cases without one."""

import random

import pytest

from monai_ext.data.io.case_id import MAX_BYTES, case_id, case_ids, fault_of_id


@pytest.mark.parametrize(
    ("path", "case"),
    [
        ("p7_t2w.nii.gz", "p7"),
        ("a/p7.mha", "p7"),
        ("/data/p7/t2w.nii.gz", "p7"),
        ("s0001/ct.nii.gz", "s0001"),
        ("PETCT_01/SUV.nii.gz", "PETCT_01"),
        ("x/CHUM-001__CT.nii.gz", "CHUM-001"),
        ("BraTS-GLI-00000-000-t2f.nii.gz", "BraTS-GLI-00000-000"),
        ("liver_7_0000.nii.gz", "liver_7"),
        ("imagesTr/hippocampus_001.nii.gz", "hippocampus_001"),
        ("1.2.840.113619", "1.2.840.113619"),
        ("scan.2.nii.gz", "scan.2"),
        ("impact.nii.gz", "impact"),
        ("t2w.nii.gz", "t2w"),
        ("p7/series/", "series"),
    ],
)
def test_of_one_case(path, case):
    assert case_id(path) == case
    assert case_ids([path]) == [case]


@pytest.mark.parametrize(
    ("paths", "ids"),
    [
        (["p1/t2w.nii.gz", "p2/t2w.nii.gz"], ["p1", "p2"]),
        (["p1/series", "p2/series", "p3/other"], ["p1_series", "p2_series", "other"]),
        (["a/p1/s/x.nii", "a/p2/s/x.nii", "b/p1/s/x.nii"], ["a_p1_s_x", "p2_s_x", "b_p1_s_x"]),
        (["d/study_0000.nii.gz", "d/study_0001.nii.gz"], ["study_0000", "study_0001"]),
        (["d/x.nii.gz", "d/x.mha"], ["d_x", "d_x"]),
        (["d/Case.nii", "e/case.nii"], ["d_Case", "e_case"]),
    ],
)
def test_as_far_up_as_it_takes(paths, ids):
    assert case_ids(paths) == ids
    assert case_ids(paths[::-1]) == ids[::-1]


def test_given_ids_stay_and_others_keep_clear_of_them():
    assert case_ids(["a/x.nii", "b/x.nii", "c/y.nii"], ["x", None, "x"]) == ["x", "b_x", "x"]


def test_different_paths_never_meet():
    rng = random.Random(0)
    words = ["p", "p_q", "q", "t2w", "p_t2w", "P", "ct", "s_0000", "s_0001"]
    for _ in range(300):
        paths = {"/".join(rng.choices(words, k=rng.randint(1, 4))) for _ in range(rng.randint(2, 12))}
        ids = case_ids(sorted(paths))
        folded = {path.casefold() for path in paths}
        # What joins folders to one name also joins a_b/c and a/b_c, which only the caller can refuse.
        joined = {path.replace("/", "_") for path in folded}
        if len(joined) == len(paths):
            assert len({name.casefold() for name in ids}) == len(paths), sorted(paths)


@pytest.mark.parametrize(
    ("case", "fault"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("../p1", "slash"),
        ("a/b", "slash"),
        ("a\\b", "slash"),
        ("..", "dot"),
        (".lock", "dot"),
        ("a\nb", "line break"),
        ("a ", "space"),
        ("\ud800", "control"),
        ("a" * (MAX_BYTES + 1), "bytes"),
        ("ä" * MAX_BYTES, "bytes"),
        ("report.json", "report"),
    ],
)
def test_an_id_that_names_no_folder(case, fault):
    assert fault in fault_of_id(case)


@pytest.mark.parametrize("case", ["p1", "Zoë", "1.2.840", "a b", "a" * MAX_BYTES, "$x", "-1"])
def test_an_id_that_does(case, tmp_path):
    assert fault_of_id(case) == ""
    folder = tmp_path / case
    folder.mkdir()
    (folder / f".{case}_probability.nii.gz.0123456789ab.nii.gz").touch()
