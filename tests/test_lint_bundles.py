"""A bundle that was copied and not rewritten is found, place by place; one that was rewritten is let through."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("lint_bundles", ROOT / "ci/lint_bundles.py")
lint = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lint)

LONG = "Each patch is hidden once in an epoch, so that the network sees every part, and none of them twice in a row."
README = """# Segmentation with {title}

## Overview

Phase 1 hides patches. Compare [Old Mask](../../old_mask/docs/README.md), which hides others.

## Training configuration

{own} {long}

Old-Mask does not do so.

## Commands

```
# both phases
python -m monai.bundle run training --config_file bundles/{name}/configs/train.json
```
"""


def write(root, name, title):
    """A small bundle that speaks of itself."""
    folder = root / "bundles" / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "configs/variants").mkdir(parents=True)
    (folder / "docs").mkdir()
    train = {
        "_desc_": f"Phase 2: {title}",
        "bundle_root": f"$monai_ext.bundle.find_root('{name}')",
        "phases": ["pre"],
        "run": "$1",
    }
    pre = {"_desc_": f"Phase 1: {title}", "product": "@pretrained", "run": "$1", "_desc_lr": f"of {title}, (3.1)"}
    metadata = {"name": title, "task": f"a task of {title}", "authors": "all", "references": ["Old mask, 2020"]}
    row = {
        "_desc_": "a rival: old_mask",
        "_paper_": {"dice": len(title)},
        "run_dir": "$@bundle_root + '/rows/old_mask_5'",
    }
    files = {"train.json": train, "pre.json": pre, "metadata.json": metadata, "variants/row.json": row}
    for file, config in files.items():
        (folder / "configs" / file).write_text(json.dumps(config))
    (folder / "docs/README.md").write_text(README.format(name=name, title=title, own=f"As {title} does.", long=LONG))
    (folder / "docs/preview.png").write_bytes(title.encode())
    return folder


@pytest.fixture
def new(tmp_path):
    write(tmp_path, "old_mask", "an older idea")
    return write(tmp_path, "new", "a newer idea")


def problems(new):
    return [problem.replace(f"{new}/", "") for problem in lint.check_bundles(new.parents[1])]


def test_bundles_that_speak_of_themselves_are_let_through(new):
    assert problems(new) == []


COPIED = {  # file, what is put for what, and the problem that is found
    "root": ("configs/train.json", "find_root('new')", "find_root('old_mask')", "find_root('old_mask')"),
    "path": ("configs/train.json", '"phases"', '"model": "bundles/old_mask/models/model.pt", "phases"', "model names"),
    "train": ("configs/train.json", "Phase 2: a newer", "Phase 2: an older", "train.json: _desc_ is as in"),
    "phase": ("configs/pre.json", "Phase 1: a newer", "Phase 1: an older", "pre.json: _desc_ is as in"),
    "named phase": ("configs/pre.json", "Phase 1: a newer idea", "Phase 1: the old mask", "pre.json: _desc_ names"),
    "section": ("configs/pre.json", "of a newer idea, (3.1)", "of an older idea, (3.1)", "_desc_lr is as in"),
    "name": ("configs/metadata.json", '"name": "a newer', '"name": "an older', "metadata.json: name is as in"),
    "task": ("configs/metadata.json", "a task of a newer", "a task of an older", "metadata.json: task is as in"),
    "authors": ("configs/metadata.json", '"all"', '"the authors of Old-Mask"', "authors names old_mask"),
    "figure": ("configs/variants/row.json", '{"dice": 12}', '{"dice": 13}', "row.json: _paper_ is as in"),
    "title": ("docs/README.md", "# Segmentation with a newer", "# Segmentation with an older", "title is as in"),
    "overview": ("docs/README.md", "Phase 1 hides", "Phase 1 of the old mask hides", "README.md:5: names old_mask"),
    "paragraph": ("docs/README.md", "As a newer idea does", "As an older idea does", "Training configuration is as in"),
    "command": ("docs/README.md", "bundles/new/", "bundles/old_mask/", "README.md:17: names old_mask"),
    "option": ("docs/README.md", "# both phases", "python -m monai_ext.table --bundle old_mask", "16: names old_mask"),
    "missing": (
        "docs/README.md",
        "new/configs/train.json",
        "new/configs/pretrain.json",
        "there is no bundles/new/conf",
    ),
    "picture": ("docs/preview.png", "a newer", "an older", "preview.png is as in"),
}


@pytest.mark.parametrize("case", COPIED)
def test_what_still_speaks_of_another_bundle_is_found(new, case):
    file, old, other, wanted = COPIED[case]
    text = (new / file).read_text()
    assert old in text
    (new / file).write_text(text.replace(old, other))
    found = problems(new)
    assert len(found) == 1
    assert wanted in found[0]


def test_a_table_of_figures_is_not_copied(new):
    rows = "\n## Performance\n\n| 5 % | 0.158 | 0.117 | 0.251 |\n"
    for name in ("old_mask", "new"):
        readme = new.parent / name / "docs/README.md"
        readme.write_text(readme.read_text() + rows)
    assert "README.md: Performance is as in" in problems(new)[0]


def test_a_plain_copy_is_found_everywhere(new):
    shutil.rmtree(new)
    shutil.copytree(new.parent / "old_mask", new)
    found = "\n".join(problems(new))
    for file in ("train.json", "pre.json", "metadata.json", "variants/row.json", "README.md", "preview.png"):
        assert file in found


def test_the_repository_is_clean():
    assert list(lint.check_bundles()) == []
