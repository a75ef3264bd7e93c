"""Tables of measurements in the documents."""

import json
import sys
from pathlib import Path

import pytest

from monai_ext.data.io.json_file import write_json

sys.path.insert(0, str(Path(__file__).parents[1] / "ci"))
import evidence_tables

ASKED = "# Page\n\n<!-- evidence: tiny/two; dice; against plain -->\n<!-- end of evidence -->\n\nThe rest.\n"


@pytest.fixture
def root(tmp_path):
    """Two rows, two draws, two patients: the better row is .1 better throughout."""
    folder = tmp_path / "bundles/tiny/docs/evidence/two"
    folder.mkdir(parents=True)
    cells, lines = [], ["row,fold,draw,seed,case,patient,dice"]
    for row, base in (("plain", 0.3), ("better", 0.4)):
        for draw in (0, 1):
            cell = {"row": row, "draw": draw, "seed": 0, "steps": 1000 + draw, "processor_seconds": 1800, "metrics": {}}
            cells.append(cell if row == "better" else {**cell, "processor_seconds": None})
            lines += [f"{row},,{draw},0,{p},{p},{base + 0.2 * k + 0.02 * draw}" for k, p in enumerate(("a", "b"))]
    write_json({"about": {"overrides": {"num_labelled": 5}}, "cells": cells}, folder / "cells.json")
    (folder / "cases.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "README.md").write_text(ASKED)
    return tmp_path


def test_a_table_is_written_from_the_values_of_the_cases(root, capsys):
    assert evidence_tables.main(check=True, root=root) == 1
    assert "README.md" in capsys.readouterr().out
    assert (root / "README.md").read_text() == ASKED  # a check writes nothing
    assert evidence_tables.main(check=False, root=root) == 0
    text = (root / "README.md").read_text()
    plain, better = (line.split(" | ") for line in text.splitlines() if line.startswith("| 5"))
    assert plain[:3] == ["| 5", "plain", "0.410"]  # (.3 + .5 + .32 + .52) / 4
    assert (better[2], better[4], better[5]) == ("0.510", "+0.100", "+0.100 to +0.100")
    assert better[6:] == ["2", "2", "1", "1,000-1,001", "1.0 |"]
    assert plain[6:] == ["2", "2", "1", "1,000-1,001", "- |"]
    assert text.startswith("# Page\n\n<!-- evidence: tiny/two")
    assert text.endswith("<!-- end of evidence -->\n\nThe rest.\n")
    assert evidence_tables.main(check=True, root=root) == 0


def test_several_metrics_have_a_column_each(root):
    file = root / "bundles/tiny/docs/evidence/two/cases.csv"
    header, *lines = file.read_text().splitlines()
    file.write_text("\n".join([f"{header},nsd_testing", *(f"{line},0.75" for line in lines)]) + "\n")
    (root / "README.md").write_text(ASKED.replace("dice;", "dice nsd_testing;"))
    evidence_tables.main(check=False, root=root)
    text = (root / "README.md").read_text()
    assert "| row | dice | nsd |" in text
    assert "| better | 0.510, +0.100 (+0.100 to +0.100) | 0.750, +0.000 (+0.000 to +0.000) |" in text
    assert "over 2 patients. Seeds: 1. The difference is that to plain" in text
    (root / "README.md").write_text(ASKED.replace("dice; against plain", "dice nsd_testing"))
    evidence_tables.main(check=False, root=root)
    assert "| plain | 0.410 (" in (root / "README.md").read_text()


def test_a_gain_has_its_sign(root):
    file = root / "bundles/tiny/docs/evidence/two/cases.csv"
    file.write_text(file.read_text().replace("dice", "gain_map_testing"))
    (root / "README.md").write_text(ASKED.replace("dice; against plain", "gain_map_testing gain_map_testing"))
    evidence_tables.main(check=False, root=root)
    assert "| better | +0.510 (+0.4" in (root / "README.md").read_text()


def test_a_metric_of_no_cases_is_told_for_each_training(root):
    """Such as what a domain head reaches on patients that are held out of its own training."""
    file = root / "bundles/tiny/docs/evidence/two/cells.json"
    kept = json.loads(file.read_text())
    for cell, auroc in zip(kept["cells"][2:], (0.8, 0.7)):
        cell["metrics"] = {"domain_head_auroc": {"mean": auroc}}
    write_json(kept, file)
    (root / "README.md").write_text(ASKED.replace("dice;", "dice domain_head_auroc;"))
    evidence_tables.main(check=False, root=root)
    text = (root / "README.md").read_text()
    assert "| better | 0.510, +0.100 (+0.100 to +0.100) | 0.800, 0.700 |" in text
    assert "| plain | 0.410 (" in text
    assert text.splitlines()[5].endswith("| - |")


def test_a_figure_changed_by_hand_is_found(root):
    evidence_tables.main(check=False, root=root)
    text = (root / "README.md").read_text()
    (root / "README.md").write_text(text.replace("0.510", "0.610"))
    assert evidence_tables.main(check=True, root=root) == 1


def test_the_tables_of_this_repository_are_those_of_the_saved_values():
    assert evidence_tables.main(check=True) == 0
