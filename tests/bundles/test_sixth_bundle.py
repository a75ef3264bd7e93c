"""A stranger's first bundle: the steps of CONTRIBUTING.md, and nothing but them, give one that passes."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from instructions import carry_out, commands, read_steps
from running import ROOT, bundle_command

from monai_ext.data.io.record import record_file
from monai_ext.networks import read_checkpoint

NAME = "simmim"
STEPS = read_steps((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
CHECK = STEPS[-1]
COPIED = 3  # steps after which the bundle is a renamed copy that still speaks of the other one
LINTS = ("lint_repository", "lint_bundles", "lint_imports", "faults_table", "catalogue")


def environment(root):
    """The copy's package, and no word to the inner pytest of the outer one."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "COV_"))}
    return kept | {"PYTHONPATH": str(root)}


def python(root, *words):
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=root,
        env=environment(root),
        capture_output=True,
        text=True,
        timeout=1500,
    )


def passes(root, *words):
    result = python(root, *words)
    assert result.returncode == 0, f"{words}\n{result.stdout[-3000:]}\n{result.stderr[-2000:]}"
    return result.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The repository without what runs have left in it."""
    root = tmp_path_factory.mktemp("clone")
    runs = shutil.ignore_patterns("models", "output", "demo", "rows", "mlruns*")
    shutil.copytree(ROOT / "bundles", root / "bundles", ignore=runs)
    for folder in ("ci", "monai_ext", "tests"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (*ROOT.glob("*.md"), *ROOT.glob("*.toml"), *ROOT.glob("*.txt"), ROOT / "LICENSE"):
        shutil.copy(file, root)
    return root


@pytest.fixture(scope="module")
def said_of_the_copy(clone):
    """What the lint says when the bundle is only copied and renamed."""
    for step in STEPS[:COPIED]:
        carry_out(step, clone)
    return python(clone, "ci/lint_bundles.py").stdout


@pytest.fixture(scope="module")
def repository(clone, said_of_the_copy):
    """The clone after all steps but the last, which checks."""
    for step in STEPS[COPIED:-1]:
        carry_out(step, clone)
    return clone


def test_steps_are_numbered_and_end_with_the_checks():
    assert [step.number for step in STEPS] == list(range(1, len(STEPS) + 1))
    assert CHECK.title == "Check"
    assert [command.split()[0] for command in commands(CHECK)] == ["ci/lint", "ci/test", "ci/demo", "ci/test"]


def test_no_python_is_written(repository):
    assert not list((repository / "bundles" / NAME).rglob("*.py"))
    old, new = ({p.relative_to(root) for p in (root / "monai_ext").rglob("*.py")} for root in (ROOT, repository))
    assert old == new


def test_the_lint_sees_that_a_copy_still_speaks_of_the_other_bundle(said_of_the_copy):
    for place in ("metadata.json: name", "metadata.json: description", "train.json: _desc_", "README.md: title"):
        assert f"bundles/{NAME}" in said_of_the_copy
        assert f"{place} is as in bundles/amlp" in said_of_the_copy
    assert "README.md:8: names amlp" in said_of_the_copy


def test_the_lint_has_nothing_to_say_of_the_new_bundle(repository):
    passes(repository, "ci/lint_configs.py", *sorted((repository / "bundles").glob("*/configs")))
    for lint in LINTS:
        passes(repository, f"ci/{lint}.py", *(["--check"] if lint in ("faults_table", "catalogue") else []))
    files = [path.relative_to(ROOT) for path in sorted((ROOT / "tests").rglob("*.py"))]
    edited = [file for file in files if (repository / file).read_bytes() != (ROOT / file).read_bytes()]
    assert len(edited) == 3
    passes(repository, "-m", "ruff", "check", *edited)
    passes(repository, "-m", "ruff", "format", "--check", *edited)


def test_the_contract_holds(repository):
    """The static tests, by the command that CONTRIBUTING.md gives."""
    words = commands(CHECK)[1].split()[1:]
    assert "tests/bundles/test_contract.py" in words
    said = passes(repository, "-m", "pytest", "-p", "no:cacheprovider", *words)
    assert int(said.split(" passed")[0].split()[-1]) >= 17
    assert "skipped" not in said


def test_the_registers_know_the_new_bundle(repository):
    files = ("tests/faults/test_runs.py", "tests/faults/test_words.py", "tests/phases/test_command.py")
    wanted = f"test_every_bundle_is_here or test_there_are_enough or (test_command and {NAME})"
    said = passes(repository, "-m", "pytest", "-p", "no:cacheprovider", *files, "-k", wanted)
    assert said.split(" passed")[0].split()[-1] == "4"


@pytest.mark.slow
def test_the_demo_trains_the_whole_method_and_uses_it_again(repository):
    """What `ci/demo` runs; the pretraining's mask and loss are SimMIM's."""
    bundle = repository / "bundles" / NAME
    configs = [f"bundles/{NAME}/configs/{file}" for file in ("train.json", "demo.json")]
    passes(repository, *bundle_command("training", *configs)[1:])
    for product in ("pretrained.pt", "model.pt"):
        read_checkpoint(bundle / "demo/models" / product)
        assert record_file(bundle / "demo/models" / product).is_file()
    record = json.loads(record_file(bundle / "demo/models/pretrained.pt").read_text())
    assert record["settings"]["ratio"] == 0.6
    assert record["settings"]["loss"]["absolute"] is True
    assert "is done already" in passes(repository, *bundle_command("training", *configs, resume=True)[1:])
    evaluate = [configs[0].replace("train", "evaluate"), configs[1]]
    passes(repository, *bundle_command("evaluating", *evaluate)[1:])
    assert json.loads((bundle / "demo/output/evaluate/report.json").read_text())["metrics"]["dice"]["n"] > 0


@pytest.mark.slow
def test_its_row_trains_and_is_evaluated(repository):
    rows = ("tests/bundles/test_rows.py", "-k", f"{NAME}-ratio_30", "-m", "slow")
    assert "1 passed" in passes(repository, "-m", "pytest", "-p", "no:cacheprovider", *rows)
