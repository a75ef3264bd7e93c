"""What the package asks for is what it imports."""

import ast
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = {"pytorch-ignite": "ignite", "itk-io": "itk", "scikit-learn": "sklearn", "huggingface-hub": "huggingface_hub"}
BY_MONAI = {"einops", "mlflow"}  # which imports them in its SwinUNETR and its tracking
BESIDE = {"PIL"}  # matplotlib cannot be without it
MONAIS = {"fire"}  # what MONAI's command line needs is not the bundle's to name
APART = {"monai", "torch", "numpy"}  # have keys of their own in metadata.json


def modules_of(words):
    names = re.findall(r'"([\w-]+)>=', words)
    return {name: MODULES.get(name, name) for name in names}


def asked_for():
    """Requirements of the package, and those of its extras, by name: the module of each."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    whole = re.search(r"(?ms)^dependencies = \[(.*?)^\]", text)[1]
    extras = re.search(r"(?ms)^\[project.optional-dependencies\](.*?)^\[", text)[1]
    return modules_of(whole), modules_of(extras)


def imported():
    found = set()
    for file in (ROOT / "monai_ext").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(node.module.split(".")[0])
    return found - sys.stdlib_module_names - {"monai_ext"}


def test_nothing_is_asked_for_that_is_not_imported_and_nothing_else_is_imported():
    whole, extras = asked_for()
    assert len(whole) > 10
    assert set(whole.values()) <= imported()
    assert set(extras.values()) - BY_MONAI <= imported()
    assert imported() <= set(whole.values()) | set(extras.values()) | BESIDE


@pytest.mark.parametrize("file", sorted(ROOT.glob("bundles/*/configs/metadata.json")), ids=lambda file: file.parts[-3])
def test_a_bundle_names_what_the_package_asks_for(file):
    required = json.loads(file.read_text(encoding="utf-8"))["required_packages_version"]
    assert asked_for()[0].keys() - MONAIS - APART <= required.keys()


def test_the_page_lists_the_extras():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = re.findall(r"(?m)^(\w+) = ", re.search(r"(?ms)^\[project.optional-dependencies\](.*?)^\[", text)[1])
    table = (ROOT / "ci/pages/install.md").read_text(encoding="utf-8").partition("| extra |")[2].partition("\n\n")[0]
    assert re.findall(r"(?m)^\| `(\w+)` \|", table) == extras
