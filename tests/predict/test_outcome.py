"""What became of each study, from what lies in the folder and what failed."""

import csv

import pytest

from monai_ext.data.io.record import record_file, write_record
from monai_ext.predict.outcome import (
    SHOWN,
    Outcome,
    describe_outcomes,
    mask_file,
    outcomes_of,
    write_outcomes,
    written_before,
)

ITEMS = [{"id": case} for case in ("old", "new", "bad", "late")]
FAILURE = {"id": "bad", "cause": "it is torn", "remedy": "Mend it.", "file": "/scans/bad.nii.gz"}


@pytest.fixture
def folder(tmp_path):
    for case in ("old", "bad"):
        finish(tmp_path, case, {"notes": ["by hand"]} if case == "old" else {})
    return tmp_path


def finish(folder, case, record):
    mask_file(folder, case).parent.mkdir()
    mask_file(folder, case).write_bytes(b"mask")
    write_record(mask_file(folder, case), record)


def test_each_state(folder):
    before = written_before(ITEMS, folder)
    assert set(before) == {"old", "bad"}
    finish(folder, "new", {"notes": ["a", "b"]})
    found = outcomes_of(ITEMS, folder, before, [FAILURE])
    assert [(o.id, o.state, o.notes) for o in found] == [
        *(("old", "kept", "by hand"), ("new", "done", "a; b"), ("bad", "failed", ""), ("late", "left", ""))
    ]
    assert found[2] == Outcome("bad", "failed", cause="it is torn", remedy="Mend it.", file="/scans/bad.nii.gz")
    assert found[0].mask == str(folder / "old/old_seg.nii.gz")


def test_done_again_is_done(folder):
    before = {case: time - 1 for case, time in written_before(ITEMS, folder).items()}
    assert outcomes_of(ITEMS[:1], folder, before, [])[0].state == "done"
    for path in (mask_file(folder, "old"), record_file(mask_file(folder, "old"))):
        path.unlink()
        assert outcomes_of(ITEMS[:1], folder, before, [])[0].state == "left"


def test_table(tmp_path):
    outcomes = [Outcome("a", "done", "a.nii.gz", "one, two"), Outcome("b", "failed", cause='a "cause"\nin lines')]
    write_outcomes(outcomes, tmp_path / "new/studies.csv")
    with open(tmp_path / "new/studies.csv", newline="", encoding="utf-8") as file:
        assert [Outcome(**row) for row in csv.DictReader(file)] == outcomes


def test_text():
    states = [Outcome("a", "done"), Outcome("b", "kept", notes="the middle"), Outcome("c", "left")]
    failed = [Outcome(f"f{number}", "failed", cause="torn", remedy="Mend it.") for number in range(SHOWN + 2)]
    assert describe_outcomes(states).splitlines() == [
        "3 studies: 1 done, 1 done before, 1 not reached",
        "  b: note: the middle",
    ]
    text = describe_outcomes([*states, *failed])
    assert f"{SHOWN + 2} failed" in text
    assert "f0: torn. Mend it." in text
    assert f"f{SHOWN}: " not in text
    assert "... and 2 more" in text
    assert describe_outcomes(states[:1]) == "1 study: 1 done"
