"""Every module has a test file of its name: ``monai_ext/a/b.py`` has ``tests/a/test_b.py``."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Module -> why it has no file of its name; no more than three.
EXCEPTIONS = {
    "weights.py": "its tests stand beside the files they need, in networks/published",
    "plan/context.py": "the tests of the planner drive every rule through it",
}


def lacking(root):
    """Modules without a test file of their name; ``__init__`` and ``__main__`` only hand on what others hold."""
    package = root / "monai_ext"
    modules = sorted(path.relative_to(package) for path in package.rglob("*.py") if not path.name.startswith("__"))
    tests = {module: root / "tests" / module.with_name(f"test_{module.name}") for module in modules}
    return [module.as_posix() for module, test in tests.items() if not test.is_file()]


def test_every_module_has_a_test_file_of_its_name():
    assert [module for module in lacking(ROOT) if module not in EXCEPTIONS] == []


def test_exceptions_are_few_and_needed_and_have_a_reason():
    assert len(EXCEPTIONS) <= 3
    assert set(EXCEPTIONS) <= set(lacking(ROOT))
    assert all(len(reason.split()) > 3 for reason in EXCEPTIONS.values())


def test_a_test_file_holds_tests():
    files = {path: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
    assert [path.name for path, text in files.items() if "def test_" not in text] == []


@pytest.mark.parametrize("name", ["a.py", "room/b.py"])
def test_a_module_without_one_is_found(tmp_path, name):
    for module in ("__init__.py", "a.py", "room/__init__.py", "room/__main__.py", "room/b.py"):
        (tmp_path / "monai_ext" / module).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "monai_ext" / module).write_text("")
    for other in {"a.py", "room/b.py"} - {name}:
        test = tmp_path / "tests" / Path(other).with_name(f"test_{Path(other).name}")
        test.parent.mkdir(parents=True, exist_ok=True)
        test.write_text("")
    assert lacking(tmp_path) == [name]
