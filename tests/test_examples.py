"""Examples in docstrings: they run, each by itself, and the parts that a reader picks from have one."""

import doctest
import importlib
import inspect
from pathlib import Path

import pytest
from torch.utils.data import DataLoader, Dataset, Sampler

import monai_ext

PACKAGE = Path(monai_ext.__file__).parent
ROOMS = ("maskers", "losses", "metrics", "networks.nets", "data")


def parts():
    """Every class, loss and metric that the rooms of the papers export, and every data set."""
    for room in ROOMS:
        module = importlib.import_module(f"monai_ext.{room}")
        for name in module.__all__:
            part = getattr(module, name)
            if room == "data":
                wanted = inspect.isclass(part) and issubclass(part, Dataset | Sampler | DataLoader)
            else:
                wanted = inspect.isclass(part) or (room in ("losses", "metrics") and inspect.isfunction(part))
            if wanted:
                yield pytest.param(part, id=f"{room}.{name}")


def modules():
    """Modules with an example, by name; the others are not imported, as some need optional packages."""
    files = [file for file in sorted(PACKAGE.rglob("*.py")) if ">>> " in file.read_text(encoding="utf-8")]
    return [".".join(("monai_ext", *file.relative_to(PACKAGE).with_suffix("").parts)) for file in files]


@pytest.mark.parametrize("part", parts())
def test_a_part_has_an_example(part):
    assert ">>> " in (part.__doc__ or ""), f"{part.__module__}.{part.__qualname__} has no Example: in its docstring"


@pytest.mark.parametrize("name", modules())
def test_examples_run(name, tmp_path, monkeypatch):
    """In the rooms an example imports what it uses, so that it can be copied; elsewhere it may use its module's names.

    Files that an example writes lie below the directory in which it runs.
    """
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    names = {} if name.startswith(tuple(f"monai_ext.{room}." for room in ROOMS)) else None
    runner = doctest.DocTestRunner()
    report = []
    for example in doctest.DocTestFinder(exclude_empty=True).find(module, globs=names):
        runner.run(example, out=report.append)
    assert not runner.failures, "".join(report)
