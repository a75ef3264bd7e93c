import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"ci/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lint = load("lint_repository")


@pytest.mark.row(21)
@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import pickle", "imports pickle"),
        ("from joblib import load", "imports joblib"),
        ("import torch\ntorch.load('x')", "torch.load without weights_only=True"),
        ("import torch\ntorch.load('x', weights_only=False)", "without weights_only=True"),
        ("import torch\ntorch.load('x', weights_only=True)", None),
        ("import numpy as np\nnp.load('x', allow_pickle=True)", "with allow_pickle"),
        ("import numpy as np\nnp.load('x')", None),
        ("import yaml\nyaml.load('x', yaml.Loader)", "use yaml.safe_load"),
        ("import yaml\nyaml.safe_load('x')", None),
        ("eval('1')", "calls eval"),
        ("import os\nos.system('x')", "runs a shell"),
        ("import subprocess\nsubprocess.run('x', shell=True)", "runs a shell"),
        ("import subprocess\nsubprocess.run(['x'])", None),
        ("import torch\ntorch.hub.load('x', 'y')", "torch.hub.load"),
    ],
)
def test_unsafe_loading_is_found(tmp_path, code, found):
    (tmp_path / "a.py").write_text(code)
    problems = list(lint.check_unsafe(tmp_path / "a.py"))
    assert len(problems) == (found is not None)
    assert not found or found in problems[0]


def test_links(tmp_path):
    (tmp_path / "b.md").write_text("x")
    (tmp_path / "a.md").write_text(
        "# One heading\n[ok](b.md) [ok](b.md#any) [ok](https://x.y) [ok](#one-heading) `[no](link.md)`\n"
        "[bad](c.md) ![bad](d.png) [bad](#other)\n```\n[no](link.md)\n```\n"
    )
    problems = list(lint.check_links(tmp_path / "a.md"))
    assert [problem.split(": ", 1)[1] for problem in problems] == [
        "c.md does not exist",
        "d.png does not exist",
        "#other is no heading",
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


def test_the_table_of_the_readme_is_up_to_date():
    table = load("faults_table")
    assert table.table() in (ROOT / "README.md").read_text()
