import json
from pathlib import Path

import faults_table
import lint_repository as lint
import pytest

ROOT = Path(__file__).parents[1]


def test_links(tmp_path):
    (tmp_path / "b.md").write_text("# Any `kind` of it\n```\n# no heading\n```\n")
    (tmp_path / "a.md").write_text(
        "# One heading\n[ok](b.md) [ok](b.md#any-kind-of-it) [ok](https://x.y) [ok](#one-heading) `[no](link.md)`\n"
        "[bad](c.md) ![bad](d.png) [bad](#other) [bad](b.md#no-heading)\n```\n[no](link.md)\n```\n"
    )
    problems = list(lint.check_links(tmp_path / "a.md"))
    assert [problem.split(": ", 1)[1] for problem in problems] == [
        "c.md does not exist",
        "d.png does not exist",
        "#other is no heading",
        "b.md#no-heading is no heading",
    ]


def test_licences_and_metadata(tmp_path):
    bundle = tmp_path / "bundle"
    (bundle / "docs").mkdir(parents=True)
    (bundle / "configs").mkdir()
    (bundle / "LICENSE").write_text("all rights reserved")
    (bundle / "docs/README.md").write_text("x")
    problems = "\n".join(lint.check_licences(bundle))
    assert "data_license.txt: missing or empty" in problems
    assert "LICENSE: not the Apache License" in problems
    schema = {"required": ["version"]}
    (bundle / "configs/metadata.json").write_text("{}")
    assert "'version' is a required property" in next(lint.check_metadata(bundle, schema))
    (bundle / "configs/metadata.json").write_text(json.dumps({"version": "1", "changelog": {"0": "x"}}))
    assert "version 1 has no entry" in next(lint.check_metadata(bundle, schema))


@pytest.mark.parametrize(
    ("text", "count"), [("monai==1.6.1\ntorch==2.6.0\n", 0), ("monai==1.5.1\ntorch>=2.5\n", 2), ("", 2)]
)
def test_versions_with_holes(tmp_path, text, count):
    (tmp_path / "requirements.txt").write_text(text)
    assert len(list(lint.check_floors(tmp_path / "requirements.txt"))) == count


def test_the_table_of_faults_is_up_to_date():
    assert faults_table.table() in (ROOT / faults_table.PAGE).read_text()
