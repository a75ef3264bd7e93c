import threading
import time
from collections import Counter

import pytest

from monai_ext.data.phantoms import cohort as module
from monai_ext.data.phantoms.cohort import cohort, make_cases


def drawn(*counts, seed=0):
    return {case.item["id"]: (case.rng.random(), case.diseased) for case in cohort("p", seed, *counts)}


def test_sections_folds_and_ids():
    cases = list(cohort("p", 0, 3, 2, 4, 1))
    found = Counter((case.section, case.item.get("fold")) for case in cases)
    assert found == {("training", 1): 3, ("training", 0): 2, ("testing", None): 4, ("unlabelled", 1): 1}
    ids = [case.item["id"] for case in cases]
    assert len(set(ids)) == 10
    assert [case.item["patient"] for case in cases] == ids
    assert [case.diseased for case in cases] == [True, True, False, True, False, True, False, True, False, True]


def test_larger_set_begins_with_the_smaller():
    small, large = drawn(2, 1, 1), drawn(4, 3, 2, 2)
    assert small.items() <= large.items()
    assert len({number for number, _ in large.values()}) == len(large)
    assert drawn(2, 1, 1, seed=1).keys() == small.keys()
    assert not {number for number, _ in drawn(2, 1, 1, seed=1).values()} & {number for number, _ in small.values()}


def test_cases_are_made_side_by_side_and_listed_in_order(monkeypatch):
    monkeypatch.setattr(module, "num_cores", lambda: 2)
    both = threading.Barrier(2, timeout=20)  # breaks unless two cases are made at once

    def make(case):
        both.wait()
        time.sleep(0.05 * (case.item["id"] == "p_1000"))  # the first is ready last
        case.item["image"] = case.item["id"] + ".nii.gz"

    datalist = make_cases(cohort("p", 0, 2, 1, 2, 1), make)
    assert {section: [item["id"] for item in items] for section, items in datalist.items()} == {
        "training": ["p_1000", "p_1001", "p_2000"],
        "testing": ["p_3000", "p_3001"],
        "unlabelled": ["p_4000"],
    }
    assert datalist["testing"][1]["image"] == "p_3001.nii.gz"


def test_ctrl_c_ends_the_making(monkeypatch):
    def interrupted(items, *args, **options):
        yield next(items)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "num_cores", lambda: 2)
    monkeypatch.setattr(module, "progress_bar", interrupted)
    made = []

    def make(case):
        made.append(case)
        time.sleep(0.02)

    with pytest.raises(KeyboardInterrupt):
        make_cases(cohort("p", 0, 200, 0, 0), make)
    assert len(made) < 100
