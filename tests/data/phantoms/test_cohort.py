from collections import Counter

from monai_ext.data.phantoms.cohort import cohort


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
